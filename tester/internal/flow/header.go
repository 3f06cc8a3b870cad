// SPDX-License-Identifier: MIT

package flow

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// proxyMark is what the second version of the PROXY protocol begins with.
var proxyMark = []byte("\r\n\r\n\x00\r\nQUIT\n")

// Header is what a header of the PROXY protocol says: addresses with ports, or "" for nobody.
type Header struct{ From, To string }

// ProxyV1 and ProxyV2 make a header of one family; extra is TLVs.
func ProxyV1(from, to string) []byte {
	f, t := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	family := 4
	if f.Addr().Is6() {
		family = 6
	}
	return []byte(fmt.Sprintf("PROXY TCP%d %s %s %d %d\r\n", family, f.Addr(), t.Addr(), f.Port(), t.Port()))
}

func ProxyV2(from, to string, extra []byte) []byte {
	f, t := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	kind := byte(0x11)
	if f.Addr().Is6() {
		kind = 0x21
	}
	pair := append(f.Addr().AsSlice(), t.Addr().AsSlice()...)
	pair = binary.BigEndian.AppendUint16(pair, f.Port())
	pair = append(binary.BigEndian.AppendUint16(pair, t.Port()), extra...)
	header := append(append([]byte{}, proxyMark...), 0x21, kind)
	return append(binary.BigEndian.AppendUint16(header, uint16(len(pair))), pair...)
}

// SendBefore sends bytes that are none of the stream's, a header before it.
func (c *Conn) SendBefore(p []byte) error {
	_, err := c.stream.Write(p)
	return err
}

// Headed reads a header of either version from each connection before it has it handled.
func Headed(handle Handler) Handler {
	return func(h *Hub, c *Conn) {
		var err error
		if c.Header, err = readHeader(c.stream); err != nil {
			c.Close()
			return
		}
		handle(h, c)
	}
}

func readHeader(from io.Reader) (Header, error) {
	start := make([]byte, len(proxyMark))
	if _, err := io.ReadFull(from, start); err != nil {
		return Header{}, err
	}
	if bytes.Equal(start, proxyMark) {
		return readV2(from)
	}
	return readV1(from, start)
}

// readV1 reads byte by byte, as what follows the line is not the header's.
func readV1(from io.Reader, line []byte) (Header, error) {
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\r\n")); line = append(line, one[0]) {
		if _, err := io.ReadFull(from, one); err != nil || len(line) > 107 {
			return Header{}, fmt.Errorf("no header: %q: %w", line, err)
		}
	}
	words := strings.Fields(string(line))
	if len(words) != 6 || words[0] != "PROXY" || !strings.HasPrefix(words[1], "TCP") {
		return Header{}, fmt.Errorf("no header that names a client: %q", line)
	}
	return Header{net.JoinHostPort(words[2], words[4]), net.JoinHostPort(words[3], words[5])}, nil
}

func readV2(from io.Reader) (Header, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(from, head); err != nil {
		return Header{}, err
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(from, rest); err != nil {
		return Header{}, err
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[head[1]]
	if head[0] != 0x21 || size == 0 || len(rest) != 2*size+4 {
		return Header{}, fmt.Errorf("no header that names a client: %x %x", head, rest)
	}
	address := func(host, port []byte) string {
		a, _ := netip.AddrFromSlice(host)
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port)).String()
	}
	return Header{address(rest[:size], rest[2*size:]), address(rest[size:2*size], rest[2*size+2:])}, nil
}
