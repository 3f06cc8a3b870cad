// SPDX-License-Identifier: MIT

// Package trial puts one promise to the test: it runs a function within a time bound, turns the
// first thing that goes wrong into the result, and undoes what the function set up. The methods of
// T end the trial by a panic that Run catches, also when they are called from a goroutine that Go
// or Parallel started.
package trial

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// graceAfterDeadline is how long a trial may take to notice that its sockets' deadlines have
// passed.
const graceAfterDeadline = 5 * time.Second

// patience is how long Until waits: not as long as the sockets do, so that it is the one to say
// what it waited for.
const patience = 30 * time.Second

// T is a trial under way.
type T struct {
	Deadline time.Time     // for every socket and every wait
	Evidence func() string // called after a failure: what to show besides the error; may be nil

	mu       sync.Mutex
	seen     []string
	cleanups []func()
	over     bool
}

// Result is what came of a trial: passed unless Err or Skipped is set.
type Result struct {
	Err      error
	Skipped  string
	Seen     string
	Evidence string
	Took     time.Duration
}

type failure struct{ err error }
type skipped struct{ reason string }

func (s skipped) Error() string { return s.reason }

// Run runs f; a trial that is still running some seconds after its bound counts as hung and is left
// behind.
func Run(bound time.Duration, f func(*T)) Result {
	start := time.Now()
	t := &T{Deadline: start.Add(bound)}
	done := make(chan error, 1)
	go func() { done <- protect(func() { f(t) }) }()

	var r Result
	select {
	case r.Err = <-done:
	case <-time.After(bound + graceAfterDeadline):
		r.Err = fmt.Errorf("hung: not done after %v", bound)
	}
	var skip skipped
	if errors.As(r.Err, &skip) {
		r.Err, r.Skipped = nil, skip.reason
	}
	if r.Err != nil && t.Evidence != nil {
		r.Evidence = t.Evidence()
	}
	t.cleanUp()
	r.Took = time.Since(start)
	r.Seen = strings.Join(t.seen, "; ")
	return r
}

func protect(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.err
		case skipped:
			err = p
		default:
			err = fmt.Errorf("the tester itself: %v\n%s", p, debug.Stack())
		}
	}()
	f()
	return nil
}

// Failf ends the trial as failed.
func (t *T) Failf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Must ends the trial as failed if there is an error.
func (t *T) Must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// Skipf ends the trial without a verdict.
func (t *T) Skipf(format string, args ...any) { panic(skipped{fmt.Sprintf(format, args...)}) }

// Sawf adds to what the report says was seen.
func (t *T) Sawf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.seen = append(t.seen, fmt.Sprintf(format, args...))
	}
}

// Defer has f called when the trial is over, last one first; at once if it is over already.
func (t *T) Defer(f func()) {
	t.mu.Lock()
	over := t.over
	if !over {
		t.cleanups = append(t.cleanups, f)
	}
	t.mu.Unlock()
	if over {
		f()
	}
}

func (t *T) cleanUp() {
	t.mu.Lock()
	t.over = true
	cleanups := t.cleanups
	t.mu.Unlock()
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
}

// Until waits for a condition.
func (t *T) Until(what string, condition func() bool) {
	for start := time.Now(); !condition(); {
		if time.Since(start) > patience {
			t.Failf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Go runs f beside the caller. The function that it returns waits for f, and fails where f has
// failed.
func (t *T) Go(f func()) (wait func()) {
	done := make(chan error, 1)
	go func() { done <- protect(f) }()
	return func() { t.Must(<-done) }
}

// Parallel calls f(0) to f(n-1), at most limit at a time, and fails with the first that fails,
// without waiting for the others.
func (t *T) Parallel(n, limit int, f func(i int)) {
	done := make(chan error, n)
	slots := make(chan struct{}, limit)
	go func() {
		for i := 0; i < n; i++ {
			i := i
			slots <- struct{}{}
			go func() {
				done <- protect(func() { f(i) })
				<-slots
			}()
		}
	}()
	for i := 0; i < n; i++ {
		t.Must(<-done)
	}
}
