// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"net"
	"sort"
	"strings"

	"shunt/tester/internal/dns"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// failingName is a name whose lookups go wrong after they went well, and what is to come of it.
type failingName struct {
	name    string
	way     dns.Way
	half    bool   // it has addresses of both families, and only the trial's own family fails
	outcome string // as which it is counted; "": that is no failure
	loses   bool   // the addresses of the family that is answered so
}

var failingNames = []failingName{
	{"servfail.shunt.test", dns.ServFail, false, "server_failed", false},
	{"nxdomain.shunt.test", dns.NXDomain, false, "no_such_name", false},
	{"nodata.shunt.test", dns.NoData, false, "no_address", false},
	{"silence.shunt.test", dns.Silence, false, "timeout", false},
	{"servfail.half.shunt.test", dns.ServFail, true, "half_failed", false},
	{"nxdomain.half.shunt.test", dns.NXDomain, true, "half_failed", false},
	{"silence.half.shunt.test", dns.Silence, true, "half_failed", false},
	{"nodata.half.shunt.test", dns.NoData, true, "", true},
	{"truth.shunt.test", dns.Truly, false, "", false},
}

// names is a daemon with an app for each of failingNames, in their order.
type names struct {
	*env
	server *dns.Server
	other  int // the family that is not the trial's
}

// families are those that a name has addresses of.
func (s *names) families(f failingName) []int {
	if f.half {
		return dns.Families
	}
	return []int{s.family}
}

// addrs are the addresses of backend n, without or with its port.
func addrs(n int, families ...int) (hosts, ats []string) {
	for _, family := range families {
		host := lab.Addr(family, lab.BackendNet, lab.FirstHost+n-1)
		hosts, ats = append(hosts, host), append(ats, net.JoinHostPort(host, fmt.Sprint(back)))
	}
	sort.Strings(ats)
	return hosts, ats
}

// row is what the daemon tells of the target of the i-th app.
func (s *names) row(i int) told {
	return s.shunt("backends", "--app", fmt.Sprintf("app-%d", front+i))[0]
}

// has says whether these are the target's addresses.
func has(row told, ats []string) bool {
	var used []string
	for _, a := range row.Addresses {
		used = append(used, a.Address)
	}
	sort.Strings(used)
	return strings.Join(used, " ") == strings.Join(ats, " ")
}

// leadTo has connections to the i-th app reach all of these, and nothing else.
func (s *names) leadTo(i int, ats []string) {
	used := make(map[string]int)
	s.Until(fmt.Sprintf("connections to %s reach %v", failingNames[i].name, ats), func() bool {
		for at, n := range s.visits(front+i, len(ats)) {
			used[at] += n
		}
		return len(used) >= len(ats)
	})
	for _, at := range ats {
		delete(used, at)
	}
	if len(used) > 0 {
		s.Failf("connections to %s reached %v, too", failingNames[i].name, used)
	}
}

// dnsFailures has names fail in all ways at the same time, each for an app of its own.
func dnsFailures(e *env) {
	const theOther = 10 // less a family
	e.serveHTTP()
	e.offWire = true // for some families are mixed
	s := &names{env: e, other: theOther - e.family}
	var err error
	s.server, err = dns.Serve(e.lab.Proxy, "127.0.0.1:53")
	e.Must(err)
	e.Defer(s.server.Close)
	var apps []keys
	for i, f := range failingNames {
		hosts, _ := addrs(1, s.families(f)...)
		s.server.Set(f.name, hosts...)
		apps = append(apps, app(front+i, []string{fmt.Sprintf("%s:%d", f.name, back)}, nil))
	}
	for n := 1; n <= 2; n++ {
		_, ats := addrs(n, dns.Families...)
		for _, at := range ats {
			e.listen(at, flow.Echo)
		}
	}
	// A server that knows of one family only; that the other one has no such name is not a failure.
	s.server.Answer(dns.NXDomain, "truth.shunt.test", s.other)
	e.start(apps...)
	s.begin()
	s.fail()
	s.recover()
	e.Sawf("%d names kept what they had while lookups failed, and then followed", len(failingNames)-1)
}

// begin waits until each name was looked up more than once without a failure, though most have addresses of
// one family only.
func (s *names) begin() {
	s.Until("all names are looked up again", func() bool {
		return s.shunt("status")[0].Lookups["answered"] >= 2*len(failingNames)
	})
	for i, f := range failingNames {
		_, ats := addrs(1, s.families(f)...)
		s.Until("the addresses of "+f.name, func() bool {
			row := s.row(i)
			return row.DNSFailures == 0 && has(row, ats)
		})
	}
	if n := s.daemon.Warnings("the name has no addresses") + s.daemon.Warnings("no such name"); n > 0 {
		s.Failf("%d warnings of names that resolve", n)
	}
}

// fail has what is to fail do so, and looks at what is still there.
func (s *names) fail() {
	told, failing := make([]int, len(failingNames)), 0
	for i, f := range failingNames {
		told[i] = s.warnings(f)
		families := dns.Families
		if f.half {
			families = []int{s.family}
		}
		if f.way != dns.Truly {
			s.server.Answer(f.way, f.name, families...)
		}
		if f.outcome != "" {
			failing++
		}
	}
	for i, f := range failingNames {
		_, ats := addrs(1, s.families(f)...)
		if f.loses {
			_, ats = addrs(1, s.other)
		}
		s.Until("what is told of "+f.name, func() bool {
			row := s.row(i)
			switch {
			case f.outcome == "":
				return row.DNSFailures == 0 && has(row, ats)
			case f.half:
				return row.DNSFailures >= 1 && row.DNSFailing == fmt.Sprintf("IPv%d", s.family)
			}
			return row.DNSFailures >= 2 && row.DNSFailing == "all"
		})
		s.leadTo(i, ats)
		if f.outcome != "" {
			s.judge(i, ats, s.warnings(f)-told[i])
		}
	}
	s.Until("the names that fail are counted", func() bool { return s.shunt("status")[0].FailingNames == failing })
	counted := s.shunt("status")[0].Lookups
	samples := s.samples()
	for _, f := range failingNames {
		series := `shunt_dns_lookups_total{outcome="` + f.outcome + `"}`
		if f.outcome != "" && (counted[f.outcome] == 0 || samples[series] < float64(counted[f.outcome])) {
			s.Failf("%s: status counts %d, the metric %.0f", f.outcome, counted[f.outcome], samples[series])
		}
	}
	if n := samples["shunt_dns_names"]; n != float64(len(failingNames)) {
		s.Failf("the metrics tell of %.0f names, there are %d", n, len(failingNames))
	}
}

// warnings is how often the log has told that a name fails as it is to.
func (s *names) warnings(f failingName) int {
	if f.half {
		return s.daemon.Warnings(fmt.Sprintf("%s does not resolve for IPv%d: ", f.name, s.family))
	}
	return s.daemon.Warnings(f.name + " does not resolve: ")
}

// judge wants a name that fails to have what it had, and this to be told: once, but with half a failure a
// daemon that was kept from its work may have seen a whole one in between.
func (s *names) judge(i int, ats []string, warnings int) {
	const ttlMS = 1000 // no failure before the first answer had expired
	f, row := failingNames[i], s.row(i)
	switch {
	case !has(row, ats) || row.State != "up":
		s.Failf("%s is %s, with %v", f.name, row.State, row.Addresses)
	case row.DNSAgeMS < ttlMS:
		s.Failf("%s: the last answer is said to be %d ms old", f.name, row.DNSAgeMS)
	case warnings == 0 || warnings > 1 && !f.half:
		s.Failf("%s: told %d times, after %d failures", f.name, warnings, row.DNSFailures)
	}
}

// recover has all be answered again, with other addresses.
func (s *names) recover() {
	for _, f := range failingNames {
		hosts, _ := addrs(2, s.families(f)...)
		s.server.Set(f.name, hosts...)
		if f.way != dns.Truly {
			s.server.Answer(dns.Truly, f.name, dns.Families...)
		}
	}
	for i, f := range failingNames {
		_, ats := addrs(2, s.families(f)...)
		s.Until(f.name+" has its new addresses", func() bool {
			row := s.row(i)
			return row.DNSFailures == 0 && has(row, ats)
		})
		s.leadTo(i, ats)
	}
}
