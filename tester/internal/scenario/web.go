// SPDX-License-Identifier: MIT

package scenario

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"shunt/tester/internal/program"
)

// nginxConfig is for the folder and the address of a server.
const nginxConfig = `daemon off;
worker_processes 2;
user root;
pid %[1]s/nginx.pid;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	sendfile on;
	keepalive_requests 1000000;
	server {
		listen %[2]s;
		root %[1]s;
	}
}
`

// pages is what nginx serves in these trials.
var pages = []struct {
	name string
	size int
}{{"small", 1000}, {"medium", 100000}, {"large", 10 * mib}}

// nginx starts one that serves pages, in a folder of its own.
func (e *env) nginx(path, addr string) (server *program.Program, folder string) {
	_, port, err := net.SplitHostPort(addr)
	e.Must(err)
	folder, err = os.MkdirTemp(e.lab.Dir, "nginx-"+port+"-")
	e.Must(err)
	e.Defer(func() { os.RemoveAll(folder) })
	for _, page := range pages {
		text := make([]byte, page.size)
		rand.Read(text)
		e.Must(os.WriteFile(filepath.Join(folder, page.name), text, 0o644))
	}
	config := filepath.Join(folder, "nginx.conf")
	e.Must(os.WriteFile(config, []byte(fmt.Sprintf(nginxConfig, folder, addr)), 0o644))
	return e.serveBy(addr, false, path, "-e", "stderr", "-p", folder, "-c", config), folder
}

// wrk loads a page for a second, and wants nothing to go wrong.
func (e *env) wrk(path string, port, conns int, page string) (requests int) {
	host, textPort := e.proxied(port)
	out := e.runIn(e.lab.Client, "", path, "-t", "2", "-c", strconv.Itoa(conns), "-d", "1s",
		"http://"+net.JoinHostPort(host, textPort)+"/"+page)
	_, said, found := strings.Cut(out, "requests in")
	if !found || strings.Contains(said, "Socket errors") || strings.Contains(said, "Non-2xx") {
		e.Failf("wrk says: %s", out)
	}
	fields := strings.Fields(out[:len(out)-len(said)-len("requests in")])
	requests, err := strconv.Atoi(fields[len(fields)-1])
	e.Must(err)
	if requests == 0 {
		e.Failf("wrk says: %s", out)
	}
	return requests
}

// webServer has each page loaded by wrk, and looks at the bodies itself.
func webServer(e *env) {
	const conns = 16
	server, wrk := e.need("nginx", "/usr/sbin", "nginx")[0], e.need("wrk", "", "wrk")[0]
	_, folder := e.nginx(server, e.at(1))
	e.start(app(front, []string{e.at(1)}, nil))
	var requests atomic.Int64
	e.Parallel(len(pages), len(pages), func(i int) {
		page := pages[i]
		requests.Add(int64(e.wrk(wrk, front, conns, page.name)))
		want, err := os.ReadFile(filepath.Join(folder, page.name))
		e.Must(err)
		client := e.httpClient(front, &http.Transport{})
		defer client.CloseIdleConnections()
		answer, err := client.Get("http://example.com/" + page.name)
		e.Must(err)
		defer answer.Body.Close()
		got, err := io.ReadAll(answer.Body)
		e.Must(err)
		if answer.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
			e.Failf("%s came with status %d and %d bytes, %d are wrong", page.name, answer.StatusCode, len(got),
				different(got, want))
		}
	})
	// One more for each is wrk's, to see whether the server is there.
	e.flowsEnded(len(pages) * (conns + 2))
	e.Sawf("%d requests without an error", requests.Load())
}

// different is how many bytes differ or are missing.
func different(a, b []byte) (n int) {
	if len(a) > len(b) {
		a, b = b, a
	}
	for i := range b {
		if i >= len(a) || a[i] != b[i] {
			n++
		}
	}
	return n
}

// httpClient has all its connections go to a port of the proxy's.
func (e *env) httpClient(port int, transport *http.Transport) *http.Client {
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		host, text := e.proxied(port)
		return e.lab.Client.Dial("", net.JoinHostPort(host, text), e.Deadline)
	}
	return &http.Client{Transport: transport, Timeout: time.Until(e.Deadline)}
}

// goPrograms is Go's own HTTP, with and without TLS and HTTP/2, and io.Copy, which is splice(2) from one
// socket to another and sendfile(2) from a file.
func goPrograms(e *env) {
	const large = 16 * mib
	var accepted atomic.Int64
	serve := func(addr string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Over HTTP/1, who has begun to answer can't read any more.
			if body, err := io.ReadAll(r.Body); err == nil {
				_, _ = w.Write(body)
			}
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of those that are gone by then
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				accepted.Add(1)
			}
		}
		s.Listener.Close()
		var err error
		s.Listener, err = e.lab.Backend.Listen(addr)
		e.Must(err)
		e.Defer(func() { s.CloseClientConnections(); s.Close() })
		return s
	}
	plain, secure := serve(e.at(1)), serve(e.at(2))
	plain.Start()
	secure.EnableHTTP2 = true
	secure.StartTLS()
	copier, err := e.lab.Backend.Listen(e.at(3))
	e.Must(err)
	e.hub.Own(copier)
	go copyBack(copier)
	// io.Copy splices, which is why shunt-config(5) says that the bypass is not for it.
	e.start(app(front, []string{e.at(1)}, nil), app(front+1, []string{e.at(2)}, nil),
		app(front+2, []string{e.at(3)}, keys{"LocalBypass": false}))

	requests := e.posts(e.httpClient(front, &http.Transport{}), "http://example.com/", "HTTP/1.1")
	certified := secure.Client().Transport.(*http.Transport).Clone() // for example.com
	certified.ForceAttemptHTTP2 = true
	requests += e.posts(e.httpClient(front+1, certified), "https://example.com/", "HTTP/2.0")
	e.copied(front+2, large)
	e.flowsEnded(int(accepted.Load()) + 1)
	e.Sawf("%d bodies came back by HTTP/1.1 and HTTP/2, %d MiB by io.Copy", requests, large/mib)
}

// posts sends bodies of many sizes, several at a time, and wants each one back.
func (e *env) posts(client *http.Client, url, protocol string) (requests int) {
	const parallel = 8
	sizes := []int{0, 1, 1000, 65535, 65536, mib, 4 * mib}
	defer client.CloseIdleConnections()
	e.Parallel(parallel*len(sizes), parallel, func(i int) {
		body := make([]byte, sizes[i%len(sizes)])
		rand.Read(body)
		answer, err := client.Post(url, "application/octet-stream", bytes.NewReader(body))
		e.Must(err)
		defer answer.Body.Close()
		back, err := io.ReadAll(answer.Body)
		e.Must(err)
		if answer.Proto != protocol || !bytes.Equal(back, body) {
			e.Failf("of a body of %d bytes came %d back by %s, and %d are wrong", len(body), len(back), answer.Proto,
				different(back, body))
		}
	})
	return parallel * len(sizes)
}

// copyBack echoes on each connection of a listener.
func copyBack(ln *net.TCPListener) {
	for {
		c, err := ln.AcceptTCP()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c) // the client sees what is missing
		}()
	}
}

// copied sends a file to an echo, and compares what comes back.
func (e *env) copied(port, size int) {
	text := make([]byte, size)
	rand.Read(text)
	path := filepath.Join(e.lab.Dir, "file")
	e.Must(os.WriteFile(path, text, 0o600))
	e.Defer(func() { os.Remove(path) })
	file, err := os.Open(path)
	e.Must(err)
	defer file.Close()
	host, textPort := e.proxied(port)
	c, err := e.lab.Client.Dial("", net.JoinHostPort(host, textPort), e.Deadline)
	e.Must(err)
	defer c.Close()
	e.Must(c.SetDeadline(e.Deadline))
	sent := e.Go(func() {
		_, err := io.Copy(c, file)
		e.Must(err)
		e.Must(c.CloseWrite())
	})
	var back bytes.Buffer
	_, err = io.Copy(&back, c)
	e.Must(err)
	sent()
	if !bytes.Equal(back.Bytes(), text) {
		e.Failf("of %d bytes came %d back, and %d are wrong", size, back.Len(), different(back.Bytes(), text))
	}
}

// Node's streams read and write at the same time, on both sides. The arguments are host and port.
const (
	nodeServer = `require('http').createServer((q, r) => q.pipe(r)).listen(process.argv[2], process.argv[1])`
	nodeClient = `
const http = require('http'), { createHash, randomBytes } = require('crypto');
const [, host, port] = process.argv, agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
const sum = b => createHash('sha256').update(b).digest('hex');
const post = body => new Promise((done, failed) => {
	const q = http.request({ host, port, agent, method: 'POST' }, r => {
		const parts = [];
		r.on('data', p => parts.push(p));
		r.on('error', failed);
		r.on('end', () => sum(Buffer.concat(parts)) === sum(body) ? done() : failed(new Error('another body')));
	});
	q.on('error', failed);
	q.end(body);
});
const sizes = Array.from({ length: 60 }, (_, i) => [1, 1000, 65536, 1 << 20][i % 4]);
Promise.all(sizes.map(n => post(randomBytes(n)))).then(() => { console.log(sizes.length); agent.destroy(); });
`
)

// node has a rejected promise end its client with an exit status, which is the trial's end, too.
func node(e *env) {
	path := e.need("nodejs", "", "node")[0]
	host, port, err := net.SplitHostPort(e.at(1))
	e.Must(err)
	e.serveBy(e.at(1), false, path, "-e", nodeServer, host, port)
	e.start(app(front, []string{e.at(1)}, nil))
	said := e.sameAsDirect("node", e.at(1), "", func(host, port string) []string {
		return []string{path, "-e", nodeClient, host, port}
	})
	e.flowsEnded(8)
	e.Sawf("%s bodies came back", strings.TrimSpace(said))
}
