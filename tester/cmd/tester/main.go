// SPDX-License-Identifier: MIT

// Shunt-tester proves what shunt promises, or any other proxy: see the manual below.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"shunt/tester/internal/against"
	"shunt/tester/internal/demo"
	"shunt/tester/internal/lab"
	"shunt/tester/internal/scenario"
	"shunt/tester/internal/trial"
)

const manual = `shunt-tester - prove what a TCP proxy promises

SYNOPSIS
  shunt-tester run [--shunt FILE] [--config FILE] [--lossy FILE] [--engine LIST] [--family LIST]
                   [--only REGEX] [--seed N] [--unprivileged]
  shunt-tester run --list
  shunt-tester demo [--shunt FILE] [--config FILE]
  shunt-tester against HOST:PORT --echo

COMMANDS
  run      Makes three network namespaces (client, proxy, backend), joined by veth pairs, and puts each
           scenario to the test in them, with a daemon of its own: for each engine and each family if it
           depends on them. Both ends of a connection are the tester's, and it compares checksums of
           what one end sent and the other got; or they are real programs, which have to say the same as
           without shunt. Needs root, ip(8), prlimit(1) and setpriv(1).
  demo     The config file, unmodified, with echo backends and mixed traffic in namespaces for ten seconds. One
           backend is stopped in between and started again. At the end a table by app and target.
  against  Judges any proxy that stands before an echo server, in the current namespace.

OPTIONS
  --shunt FILE    the daemon's binary (build/shunt)
  --config FILE   the config for the demo and for every_port_reaches_only_its_own_app (config.json); the
                  name tcp-echo.fly.dev is the lab's, other names in it do not resolve
  --lossy FILE    what makes a network bad (build/bpf/lossy.bpf.o)
  --engine LIST   of copy, splice, sockmap, wire, bypass, auto (all); scenarios that do not depend on it use the last one
  --family LIST   of 4, 6 (both)
  --only REGEX    only scenarios whose names match
  --part K/N      only the K-th of each N trials: N testers can share them and run at once (1/1)
  --list          print the scenarios and what they promise, and do nothing
  --unprivileged  run the daemon as nobody, without capabilities: what it can't have then, it must do without
  --seed N        for the random sizes and pauses (the time); the seed in use is printed
  --echo          what stands behind the proxy is an echo server (required)

OUTPUT
  A line for each scenario: pass, FAIL or skip; engine and family; seconds; what was promised | what was seen.
  A failure is followed by the first thing that went wrong and the daemon's last lines; a skip says why.
  The last line is "N passed, N failed, N skipped".

EXIT STATUS
  0  nothing failed, and something passed
  1  something failed, or nothing passed
  2  wrong usage, or the lab could not be made
  130, 143  ended by SIGINT or SIGTERM; as in every case, nothing is left behind

FILES
  /run/netns/shunt-PID-{c,p,b,r}, /etc/netns/shunt-PID-p/{hosts,resolv.conf}, /tmp/shunt-PID
           While it runs, and a cgroup named shunt-PID; in the last one a bpffs is mounted at times. What a killed tester left, the next one removes.
`

func main() {
	if len(os.Args) < 2 {
		usage("which command?")
	}
	switch command, args := os.Args[1], os.Args[2:]; command {
	case "run":
		run(args)
	case "demo":
		runDemo(args)
	case "against":
		runAgainst(args)
	case "help", "-h", "-help", "--help":
		fmt.Print(manual)
	default:
		usage("unknown command %q", command)
	}
}

// usage ends the process with a message about its arguments.
func usage(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "shunt-tester: "+format+"\nshunt-tester --help says more\n", args...)
	os.Exit(2)
}

// parse reads options; the list of operands is what is left.
func parse(flags *flag.FlagSet, args []string, operands int) []string {
	flags.Usage = func() {}
	flags.SetOutput(os.Stderr)
	var rest []string
	for { // operands may stand before options, too
		err := flags.Parse(args)
		if err == flag.ErrHelp {
			fmt.Print(manual)
			os.Exit(0)
		} else if err != nil {
			os.Exit(2)
		}
		if flags.NArg() == 0 {
			break
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
	if len(rest) != operands {
		usage("%s takes %d operands, not %d", flags.Name(), operands, len(rest))
	}
	return rest
}

func common(flags *flag.FlagSet) (shunt, config *string) {
	return flags.String("shunt", "build/shunt", ""), flags.String("config", "config.json", "")
}

func run(args []string) {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	shunt, config := common(flags)
	engines := flags.String("engine", strings.Join(scenario.Engines, ","), "")
	lossy := flags.String("lossy", "build/bpf/lossy.bpf.o", "")
	families := flags.String("family", "4,6", "")
	only := flags.String("only", "", "")
	list := flags.Bool("list", false, "")
	unprivileged := flags.Bool("unprivileged", false, "")
	part := flags.String("part", "1/1", "")
	seed := flags.Int64("seed", time.Now().Unix(), "")
	parse(flags, args, 0)
	if *list {
		scenario.List(os.Stdout)
		return
	}
	o := scenario.Options{Shunt: absolute(*shunt), Config: absolute(*config), Lossy: absolute(*lossy),
		Engines: strings.Split(*engines, ","), Unprivileged: *unprivileged}
	for _, name := range o.Engines {
		if !scenario.IsEngine(name) {
			usage("--engine %s: %q is none of %s", *engines, name, strings.Join(scenario.Engines, ", "))
		}
	}
	for _, text := range strings.Split(*families, ",") {
		family, err := strconv.Atoi(text)
		if err != nil || family != 4 && family != 6 {
			usage("--family %s: not a list of 4 and 6", *families)
		}
		o.Families = append(o.Families, family)
	}
	if n, err := fmt.Sscanf(*part, "%d/%d", &o.Part, &o.Parts); n != 2 || err != nil || o.Part < 1 || o.Part > o.Parts {
		usage("--part %s: not K/N, with K from 1 to N", *part)
	}
	var err error
	if o.Only, err = regexp.Compile(*only); err != nil {
		usage("--only: %v", err)
	}
	rand.Seed(*seed)
	fmt.Printf("testing %s, seed %d\n", *shunt, *seed)
	report := trial.Report{Out: os.Stdout}
	withLab(func(l *lab.Lab) bool {
		scenario.Run(l, o, &report)
		return report.Close()
	})
}

func runDemo(args []string) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	shunt, config := common(flags)
	parse(flags, args, 0)
	withLab(func(l *lab.Lab) bool {
		good, err := demo.Run(l, absolute(*shunt), absolute(*config))
		if err != nil {
			fmt.Fprintln(os.Stderr, "shunt-tester:", err)
		}
		return good
	})
}

func runAgainst(args []string) {
	flags := flag.NewFlagSet("against", flag.ContinueOnError)
	echo := flags.Bool("echo", false, "")
	addr := parse(flags, args, 1)[0]
	if _, _, err := net.SplitHostPort(addr); err != nil {
		usage("against %s: %v", addr, err)
	}
	if !*echo {
		usage("against needs --echo: there must be an echo server behind the proxy")
	}
	report := trial.Report{Out: os.Stdout}
	against.Run(addr, &report)
	if !report.Close() {
		os.Exit(1)
	}
}

// withLab runs f in a lab, and ends the process: the lab goes away in every case, before the
// process does.
func withLab(f func(*lab.Lab) bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	l, err := lab.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shunt-tester:", err)
		os.Exit(2)
	}
	done := make(chan bool, 1)
	go func() {
		defer l.Close() // also when f panics
		done <- f(l)
	}()
	status := 1
	select {
	case good := <-done:
		if good {
			status = 0
		}
	case s := <-signals:
		os.Stdout.Close() // what fails from now on fails because the lab goes away
		status = 128 + int(s.(syscall.Signal))
	}
	l.Close()
	os.Exit(status)
}

func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		usage("%s: %v", path, err)
	}
	return abs
}
