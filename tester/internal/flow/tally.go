// SPDX-License-Identifier: MIT

package flow

import (
	"fmt"
	"hash/crc32"
	"sync"
)

// tallyBlock is how finely a tally can say where two streams part.
const tallyBlock = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tally is what one end has seen of a stream: its length, and a checksum of each block.
type tally struct {
	mu   sync.Mutex
	n    int64
	sums []uint32
}

func (t *tally) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(p) > 0 {
		used := int(t.n % tallyBlock)
		if used == 0 {
			t.sums = append(t.sums, 0)
		}
		take := tallyBlock - used
		if take > len(p) {
			take = len(p)
		}
		last := &t.sums[len(t.sums)-1]
		*last = crc32.Update(*last, castagnoli, p[:take])
		t.n += int64(take)
		p = p[take:]
	}
}

func (t *tally) len() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// compare says where what was got parts from what was sent.
func compare(sent, got *tally) error {
	sent.mu.Lock()
	defer sent.mu.Unlock()
	got.mu.Lock()
	defer got.mu.Unlock()
	for i := range sent.sums {
		whole := int64(i+1)*tallyBlock <= sent.n && int64(i+1)*tallyBlock <= got.n
		if (whole || sent.n == got.n) && sent.sums[i] != got.sums[i] {
			return fmt.Errorf("of %d bytes sent, %d arrived, and the first wrong one is among the %d from offset %d",
				sent.n, got.n, tallyBlock, int64(i)*tallyBlock)
		}
	}
	if sent.n != got.n {
		return fmt.Errorf("of %d bytes sent, %d arrived", sent.n, got.n)
	}
	return nil
}
