// SPDX-License-Identifier: MIT

// Package dns is a name server just large enough to be asked by a resolver: it answers A and AAAA
// for the names that it was told, with a TTL of one second, and that no other name exists (RFC
// 1035, section 4). It can be told to fail, too.
package dns

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"time"

	"shunt/tester/internal/lab"
)

const (
	typeA, typeAAAA = 1, 28
	classIN         = 1
	ttlSeconds      = 1
	headerSize      = 12

	flagsAnswer   = 0x8180 // response, recursion desired and available
	flagsServFail = flagsAnswer | 2
	flagsNXDomain = flagsAnswer | 3
)

// Way is how queries are answered.
type Way int

const (
	Truly    Way = iota // with the name's addresses; with none, if it has none of this type
	NoData              // that the name has none of this type
	NXDomain            // that there is no such name
	ServFail            // that the server is not able to
	Silence             // not at all
)

// Families are those that queries are for.
var Families = []int{4, 6}

// Server is a running responder.
type Server struct {
	conn net.PacketConn

	mu      sync.Mutex
	answers map[string][]net.IP
	ways    map[asked]Way
	delay   time.Duration
}

// asked is what a query is about.
type asked struct {
	name  string
	qtype uint16
}

// Serve answers at addr in the namespace until Close.
func Serve(ns *lab.NS, addr string) (*Server, error) {
	conn, err := ns.ListenPacket(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{conn: conn, answers: make(map[string][]net.IP), ways: make(map[asked]Way)}
	go func() {
		query := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if reply := s.reply(query[:n]); reply != nil {
				time.AfterFunc(s.pause(), func() {
					_, _ = conn.WriteTo(reply, from) // a lost datagram is DNS's daily bread
				})
			}
		}
	}()
	return s, nil
}

// Set gives a name its addresses from now on.
func (s *Server) Set(name string, addrs ...string) {
	ips := make([]net.IP, len(addrs))
	for i, a := range addrs {
		ips[i] = net.ParseIP(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[strings.ToLower(name)] = ips
}

// Answer has queries for a name's addresses of these families be answered in some way from now on.
func (s *Server) Answer(way Way, name string, families ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, family := range families {
		qtype := uint16(typeA)
		if family == 6 {
			qtype = typeAAAA
		}
		s.ways[asked{strings.ToLower(name), qtype}] = way
	}
}

// Delay has every answer wait from now on.
func (s *Server) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

func (s *Server) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delay
}

// Close ends the responder.
func (s *Server) Close() { s.conn.Close() }

func (s *Server) reply(query []byte) []byte {
	name, end := question(query)
	if end == 0 {
		return nil
	}
	qtype := binary.BigEndian.Uint16(query[end-4:])
	s.mu.Lock()
	ips, known := s.answers[name]
	way := s.ways[asked{name, qtype}]
	s.mu.Unlock()
	if !known {
		way = NXDomain
	}
	flags := uint16(flagsAnswer)
	switch way {
	case Silence:
		return nil
	case NXDomain:
		flags = flagsNXDomain
	case ServFail:
		flags = flagsServFail
	}
	if way != Truly {
		ips = nil
	}

	reply := make([]byte, headerSize)
	copy(reply, query[:2]) // the query's id
	binary.BigEndian.PutUint16(reply[2:], flags)
	binary.BigEndian.PutUint16(reply[4:], 1) // one question, repeated
	reply = append(reply, query[headerSize:end]...)
	count := uint16(0)
	for _, ip := range ips {
		data, rtype := []byte(ip.To4()), uint16(typeA)
		if data == nil {
			data, rtype = ip, typeAAAA
		}
		if rtype != qtype {
			continue
		}
		reply = append(reply, 0xc0, headerSize) // the name, by a pointer to the question
		reply = binary.BigEndian.AppendUint16(reply, rtype)
		reply = binary.BigEndian.AppendUint16(reply, classIN)
		reply = binary.BigEndian.AppendUint32(reply, ttlSeconds)
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(data)))
		reply = append(reply, data...)
		count++
	}
	binary.BigEndian.PutUint16(reply[6:], count)
	return reply
}

// question reads the first question's name, and where the question ends; 0 if it is malformed.
func question(query []byte) (name string, end int) {
	if len(query) < headerSize || query[2]&0x80 != 0 {
		return "", 0
	}
	var labels []string
	at := headerSize
	for at < len(query) && query[at] != 0 {
		next := at + 1 + int(query[at])
		if next >= len(query) {
			return "", 0
		}
		labels = append(labels, string(query[at+1:next]))
		at = next
	}
	end = at + 1 + 4 // the root label, type, class
	if end > len(query) {
		return "", 0
	}
	return strings.ToLower(strings.Join(labels, ".")), end
}
