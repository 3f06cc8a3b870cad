// SPDX-License-Identifier: MIT

// Package daemon runs a shunt daemon, reads its JSON log as it is written, and looks at the process
// from outside, by /proc. It starts and stops the daemon but never judges it, with one exception: a
// sanitizer's report is an error.
package daemon

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// tailLines is how many of the last log lines are kept for a report.
const tailLines = 8

// alarms is how the sanitizers' reports are known.
var alarms = []string{
	"ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "ThreadSanitizer", "runtime error:",
}

// Record is what the tester reads of a line of the daemon's log; the event says which fields are
// set.
type Record struct {
	Event      string  `json:"event"`
	App        string  `json:"app"`
	Client     string  `json:"client"`
	Listener   string  `json:"listener"`
	Target     string  `json:"target"`
	Attempts   int     `json:"attempts"`
	DurationMS float64 `json:"duration_ms"`
	QueueMS    float64 `json:"queue_ms"` // 0: it did not wait
	ToBackend  int64   `json:"bytes_to_backend"`
	ToClient   int64   `json:"bytes_to_client"`
	Engine     string  `json:"engine"`
	State      string  `json:"state"`
	Why        string  `json:"why"`
	Reason     string  `json:"reason"`
	Adopted    string  `json:"adopted"`
	By         string  `json:"by"`

	Level   string `json:"level"`
	Message string `json:"message"` // of "log"
}

// Daemon is a running daemon, or one that has exited.
type Daemon struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu       sync.Mutex
	records  []Record // of all events but "log"
	warnings []string // of those
	tail     []string
	alarm    string // a sanitizer's first line
}

// Start starts the command and reads its log until it exits. Terminal signals stay with the tester.
func Start(cmd *exec.Cmd) (*Daemon, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &Daemon{cmd: cmd, exited: make(chan struct{})}
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			d.line(lines.Text())
		}
		_ = cmd.Wait() // ExitCode has what it says
		close(d.exited)
	}()
	return d, nil
}

func (d *Daemon) line(text string) {
	var r Record
	isRecord := json.Unmarshal([]byte(text), &r) == nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if isRecord && r.Event != "log" {
		d.records = append(d.records, r)
	}
	if isRecord && r.Event == "log" && r.Level == "warning" {
		d.warnings = append(d.warnings, r.Message)
	}
	for _, sign := range alarms {
		if d.alarm == "" && strings.Contains(text, sign) {
			d.alarm = text
		}
	}
	if d.tail = append(d.tail, text); len(d.tail) > tailLines {
		d.tail = d.tail[1:]
	}
}

// Records is the events so far for which keep is true, in the log's order.
func (d *Daemon) Records(keep func(*Record) bool) []Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	var kept []Record
	for i := range d.records {
		if keep(&d.records[i]) {
			kept = append(kept, d.records[i])
		}
	}
	return kept
}

// Count is the number of events of this name.
func (d *Daemon) Count(event string) int {
	return len(d.Records(func(r *Record) bool { return r.Event == event }))
}

// Warnings is the number of warnings with this text in them.
func (d *Daemon) Warnings(text string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.warnings {
		if strings.Contains(w, text) {
			n++
		}
	}
	return n
}

// Tail is the last lines of the log.
func (d *Daemon) Tail() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return "the daemon's last lines:\n" + strings.Join(d.tail, "\n")
}

// Alarm is a sanitizer's complaint, as an error.
func (d *Daemon) Alarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.alarm != "" {
		return fmt.Errorf("sanitizer: %s", d.alarm)
	}
	return nil
}

// Exited says whether the process is gone.
func (d *Daemon) Exited() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// ExitState is how the process ended, e.g. "exit status 0"; only once it has exited.
func (d *Daemon) ExitState() string { return d.cmd.ProcessState.String() }

// ExitCode is its exit status, or -1 after a signal; only once it has exited.
func (d *Daemon) ExitCode() int { return d.cmd.ProcessState.ExitCode() }

// Signal sends a signal; to a daemon that has exited, nothing.
func (d *Daemon) Signal(s syscall.Signal) {
	if !d.Exited() {
		_ = d.cmd.Process.Signal(s) // it may exit just now
	}
}

// Kill ends the process at once and waits for its end.
func (d *Daemon) Kill() {
	d.Signal(syscall.SIGKILL)
	<-d.exited
}

func (d *Daemon) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), name)
}

// FDs counts the open file descriptors by kind: "socket", "pipe", "anon_inode" and so on.
func (d *Daemon) FDs() map[string]int {
	kinds := make(map[string]int)
	entries, _ := os.ReadDir(d.proc("fd"))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(d.proc("fd"), e.Name()))
		if err == nil {
			kind, _, _ := strings.Cut(target, ":")
			kinds[kind]++
		}
	}
	return kinds
}

// RSS is the resident memory in bytes.
func (d *Daemon) RSS() int64 {
	status, _ := os.ReadFile(d.proc("status"))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}

// CPUTicks is the processor time used so far, user and system, in ticks of 10 ms.
func (d *Daemon) CPUTicks() int {
	stat, _ := os.ReadFile(d.proc("stat"))
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

// Sanitized says whether a binary is a sanitizer's build, whose memory says nothing about the
// program's.
func Sanitized(binary string) bool {
	text, _ := os.ReadFile(binary)
	return strings.Contains(string(text), "__asan_init") || strings.Contains(string(text), "__tsan_init")
}
