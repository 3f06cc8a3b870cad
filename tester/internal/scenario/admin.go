// SPDX-License-Identifier: MIT

package scenario

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"

	"shunt/tester/internal/flow"
)

// told is what the tester reads of a line of what `shunt COMMAND --json` says.
type told struct {
	Error     string         `json:"error"`
	End       bool           `json:"end"`
	App       string         `json:"app"`
	Client    string         `json:"client"`
	Listener  string         `json:"listener"`
	Address   string         `json:"address"`
	State     string         `json:"state"`
	Target    string         `json:"target"`
	Order     string         `json:"order"`
	Engine    string         `json:"engine_to_backend"`
	Why       string         `json:"why_to_backend"`
	Back      string         `json:"engine_to_client"`
	IdleMS    int64          `json:"idle_ms"`
	AgeMS     int64          `json:"age_ms"`
	ToBackend int64          `json:"bytes_to_backend"`
	ToClient  int64          `json:"bytes_to_client"`
	Sessions  int            `json:"sessions"`
	Active    int            `json:"active"`
	Queued    int            `json:"queued"`
	States    map[string]int `json:"states"`
	Closed    map[string]int `json:"closed"`
	Accepted  int            `json:"accepted"`
	Change    string         `json:"change"`
	Key       string         `json:"key"`
	From      string         `json:"from"`
	To        string         `json:"to"`
	Adopted   int            `json:"wire_adopted"`
	Addresses []struct {
		Address string `json:"address"`
		State   string `json:"state"`
		Check   string `json:"check"`
	} `json:"addresses"`
	Engines []struct {
		Name      string `json:"engine"`
		ToBackend int    `json:"to_backend"`
	} `json:"engines"`
	Packets struct {
		Forwarded int64 `json:"forwarded"`
		ICMP      int64 `json:"icmp_forwarded"`
		TooBig    int64 `json:"too_big_answered"`
	} `json:"wire_packets"`
	Bypass map[string]int64 `json:"bypass"`

	Lookups      map[string]int `json:"dns_lookups"`
	FailingNames int            `json:"dns_names_failing"`
	DNSFailures  int            `json:"dns_failures"`
	DNSFailing   string         `json:"dns_failing"`
	DNSAgeMS     int64          `json:"dns_age_ms"`

	Parked struct {
		Bytes int64 `json:"bytes"`
	} `json:"wire_parked"`
}

// shunt asks the daemon by a command of its own and returns the rows of the answer.
func (e *env) shunt(args ...string) (rows []told) {
	out, err := exec.Command(e.Shunt, append(args, "--json", "--socket", e.admin)...).CombinedOutput()
	if err != nil {
		e.Failf("shunt %s: %w: %s", args[0], err, out)
	}
	lines, ended := bufio.NewScanner(bytes.NewReader(out)), false
	for lines.Scan() {
		var row told
		e.Must(json.Unmarshal(lines.Bytes(), &row))
		if ended = row.End; !ended {
			rows = append(rows, row)
		}
	}
	if !ended {
		e.Failf("shunt %s: the answer has no end: %s", args[0], out)
	}
	return rows
}

// serveAdmin asks for a daemon with an admin socket.
func (e *env) serveAdmin() {
	folder := filepath.Join(e.lab.Dir, "admin")
	e.Must(os.MkdirAll(folder, 0o777))
	e.Must(os.Chmod(folder, 0o777)) // the daemon may be nobody's
	e.Defer(func() { os.RemoveAll(folder) })
	e.admin = filepath.Join(folder, "socket")
}

// flowOf is what the daemon tells of a client's connection.
func (e *env) flowOf(c *flow.Conn) told {
	for _, r := range e.shunt("flows", "--why") {
		if isOf(c, r.Client, r.Listener) {
			return r
		}
	}
	e.Failf("no flow of %s is told of", c.Local())
	return told{}
}

// toldTruly compares what the daemon says of its flows with what both ends of each know.
func toldTruly(e *env) {
	const conns = 6
	e.serveAdmin()
	e.start(app(front, e.backends(2, flow.Echo), nil))

	clients, backends := map[string]*flow.Conn{}, map[string]*flow.Conn{}
	for i := 0; i < conns; i++ {
		c, b := e.ask(front, int64(1000*(i+1)))
		clients[c.Local()], backends[c.Local()] = c, b
	}
	info, err := os.Stat(e.admin)
	e.Must(err)
	if info.Mode().Perm() != 0o600 {
		e.Failf("the admin socket's mode is %o", info.Mode().Perm())
	}
	rows := e.shunt("flows", "--why")
	if len(rows) != conns {
		e.Failf("%d flows are told of, there are %d", len(rows), conns)
	}
	for _, r := range rows {
		c, b := clients[r.Client], backends[r.Client]
		switch {
		case c == nil:
			e.Failf("a flow of %s is told of, who has none", r.Client)
		case r.Address != b.Name || r.State != "relaying" || r.Why == "" || r.IdleMS > r.AgeMS:
			e.Failf("told of %s, to %s: %+v", r.Client, b.Name, r)
		case r.ToBackend != c.Sent() || r.ToClient != c.Received():
			e.Failf("told of %s, which sent %d and received %d: %+v", r.Client, c.Sent(), c.Received(), r)
		case r.Engine != e.engine && (e.engine == "copy" || e.engine == "splice" || e.engine == "wire"):
			e.Failf("told of the engine %s", r.Engine)
		}
		delete(clients, r.Client)
	}
	if s := e.shunt("status"); len(s) != 1 || s[0].Sessions != conns || s[0].Accepted != conns {
		e.Failf("the status is %+v", s)
	}
	e.Sawf("%d flows, each with its ends, engine, reason and bytes", conns)
}
