// SPDX-License-Identifier: MIT

package scenario

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"shunt/tester/internal/flow"
)

// httpPort is where the daemon tells its metrics, on the loopback of its namespace.
const httpPort = 9640

// serveHTTP asks for a daemon that answers HTTP: by a port alone, or by an address where that would
// be the other family's.
func (e *env) serveHTTP() {
	e.http = httpPort
	if e.family == 6 {
		e.http = net.JoinHostPort("::1", strconv.Itoa(httpPort))
	}
}

// get asks the daemon for a page.
func (e *env) get(path string) (status int, body string) {
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(httpPort))
	if e.family == 6 {
		at = net.JoinHostPort("::1", strconv.Itoa(httpPort))
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return e.lab.Proxy.Dial("", at, e.Deadline)
		},
	}}
	answer, err := client.Get("http://" + at + path)
	e.Must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	e.Must(err)
	return answer.StatusCode, string(text)
}

// samples is the daemon's metrics: the value of each series.
func (e *env) samples() map[string]float64 {
	status, text := e.get("/metrics")
	if status != http.StatusOK {
		e.Failf("/metrics: status %d", status)
	}
	values := make(map[string]float64)
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		e.Must(err)
		values[line[:cut]] = value
	}
	return values
}

// metricsTrue compares the metrics with what the clients did.
func metricsTrue(e *env) {
	const conns, closed = 6, 4
	e.serveHTTP()
	targets := e.backends(1, flow.Echo)
	e.start(app(front, targets, nil))
	var sent, received int64
	for i := 0; i < conns; i++ {
		c, _ := e.ask(front, int64(1000*(i+1)))
		sent, received = sent+c.Sent(), received+c.Received()
		if i < closed {
			e.Must(c.Close())
		}
	}
	e.Until("the connections are gone", func() bool { return e.daemon.Count("connection") == closed })
	got := e.samples()
	target := `app="app-5000",target="` + targets[0] + `"`
	for series, want := range map[string]float64{
		`shunt_ready`: 1,
		`shunt_connections_accepted_total{app="app-5000"}`:             conns,
		`shunt_connections_active{app="app-5000"}`:                     conns - closed,
		`shunt_connections_closed_total{app="app-5000",reason="done"}`: closed,
		`shunt_connect_duration_seconds_count{app="app-5000"}`:         conns,
		`shunt_connection_duration_seconds_count{app="app-5000"}`:      closed,
		`shunt_backend_up{` + target + `}`:                             1,
		`shunt_backend_connects_total{` + target + `}`:                 conns,
		`shunt_backend_sent_bytes_total{` + target + `}`:               float64(sent),
		`shunt_backend_received_bytes_total{` + target + `}`:           float64(received),
	} {
		if value, ok := got[series]; !ok || value != want {
			e.Failf("promised %s %.0f, told %.0f", series, want, value)
		}
	}
	live := 0.0
	for _, engine := range []string{"copy", "splice", "sockmap", "wire", bypass} {
		live += got[`shunt_engine_directions{engine="`+engine+`",to="backend"}`]
	}
	if live != conns-closed {
		e.Failf("%d connections are live, the engines have %.0f", conns-closed, live)
	}
	if got["process_open_fds"] < 2*(conns-closed) || got["process_resident_memory_bytes"] < 1<<20 {
		e.Failf("%.0f open files, %.0f bytes of memory", got["process_open_fds"], got["process_resident_memory_bytes"])
	}
	e.Sawf("%d series, right in accepted, live, closed, bytes and times", len(got))
}

// metricsAccepted has Prometheus' own tool judge the metrics.
func metricsAccepted(e *env) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		e.Skipf("promtool is not there (Debian: prometheus)")
	}
	e.serveHTTP()
	e.start(app(front, e.backends(2, flow.Echo), keys{"Name": "a \"b\" \\ ü", "MaxConnections": 9}))
	e.visits(front, 10)
	_, text := e.get("/metrics")
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	check.Stdout, check.Stderr = &said, &said
	if err := check.Run(); err != nil || said.Len() > 0 {
		e.Failf("promtool: %v: %s", err, said.String())
	}
	e.Sawf("%d bytes, and no warning", len(text))
}

// readiness follows the daemon through a drain.
func readiness(e *env) {
	e.serveHTTP()
	e.start(app(front, e.backends(1, flow.Echo), nil))
	c, _ := e.ask(front, 100)
	answers := func(path string, want int) {
		if status, body := e.get(path); status != want {
			e.Failf("%s: status %d, promised %d: %s", path, status, want, body)
		}
	}
	answers("/readyz", http.StatusOK)
	answers("/healthz", http.StatusOK)
	e.daemon.Signal(syscall.SIGTERM)
	e.Until("the daemon is not ready", func() bool {
		status, _ := e.get("/readyz")
		return status == http.StatusServiceUnavailable
	})
	answers("/healthz", http.StatusOK)
	e.Must(c.Ask(100, flow.Steady))
	e.Must(c.Close())
	e.awaitExit()
	e.Sawf("200, and 503 while the last connection went on")
}
