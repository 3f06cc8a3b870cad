/* SPDX-License-Identifier: MIT */
#include "bpf_ring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

struct bpf_ring {
	struct ring_buffer *buffer;
	int map_fd;
	bpf_ring_fn each;
	void *arg;
};

static int on_entry(void *arg, void *data, size_t size)
{
	const struct bpf_ring *r = arg;

	r->each(r->arg, data, size);
	return 0;
}

/* As the kernel wants it: a power of two, a page at least. */
static uint32_t ring_bytes(size_t entries, size_t entry_bytes)
{
	size_t needed = entries * (BPF_RINGBUF_HDR_SZ + (entry_bytes + 7) / 8 * 8);
	uint32_t bytes = (uint32_t)sysconf(_SC_PAGESIZE);

	/* A ring that is filled to the last byte looks empty: so it has to be larger. */
	while (bytes <= needed)
		bytes *= 2;
	return bytes;
}

int bpf_ring_open(int array_fd, uint32_t index, size_t entries, size_t entry_bytes,
		  bpf_ring_fn each, void *arg, struct bpf_ring **out)
{
	struct bpf_ring *r = xcalloc(1, sizeof(*r));
	int rc;

	*r = (struct bpf_ring){ .each = each, .arg = arg };
	r->map_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0,
				   ring_bytes(entries, entry_bytes), NULL);
	rc = r->map_fd < 0 ? r->map_fd : 0;
	if (!rc)
		rc = bpf_map_update_elem(array_fd, &index, &r->map_fd, BPF_ANY);
	if (!rc) {
		r->buffer = ring_buffer__new(r->map_fd, on_entry, r, NULL);
		rc = r->buffer ? 0 : -errno;
	}
	if (rc) {
		bpf_ring_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

int bpf_ring_fd(const struct bpf_ring *r)
{
	return ring_buffer__epoll_fd(r->buffer);
}

void bpf_ring_consume(struct bpf_ring *r)
{
	ring_buffer__consume(r->buffer);
}

void bpf_ring_close(struct bpf_ring *r)
{
	if (!r)
		return;
	ring_buffer__free(r->buffer);
	if (r->map_fd >= 0)
		close(r->map_fd);
	free(r);
}
