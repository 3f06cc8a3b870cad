/* SPDX-License-Identifier: MIT */
#include "wire_hooks.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define PIN_PREFIX "link_"

/* --- pins ------------------------------------------------------------------------------------ */

/* A bpffs has no names with dots, which VLAN devices' have; devices have none with colons. */
static void pin_name(const struct wire_hook *e, char name[NAME_MAX])
{
	snprintf(name, NAME_MAX, PIN_PREFIX "%s", e->name);
	for (char *p = name; *p; p++)
		if (*p == '.')
			*p = ':';
}

static void pin_path(const char *folder, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", folder, name);
}

static void pin(struct wire_hooks *h, struct wire_hook *e)
{
	char name[NAME_MAX], path[PATH_MAX];
	int rc;

	if (!h->pin_folder || h->as_filters || !e->is_attached || e->is_pinned ||
	    e->ifindex == h->never_pinned)
		return;
	pin_name(e, name);
	pin_path(h->pin_folder, name, path);
	rc = tcx_pin(&e->tcx, path);
	e->is_pinned = !rc;
	if (rc && !e->is_told)
		log_warning(
			"wire: flows by %s end with the daemon, its link can't be pinned: %s: %s",
			e->name, path, strerror(-rc));
	e->is_told |= rc != 0;
}

static void pin_all(struct wire_hooks *h)
{
	for (size_t i = 0; i < h->n; i++)
		pin(h, &h->at[i]);
}

static void unpin(struct wire_hooks *h, struct wire_hook *e)
{
	char name[NAME_MAX], path[PATH_MAX];

	if (!e->is_pinned)
		return;
	pin_name(e, name);
	pin_path(h->pin_folder, name, path);
	unlink(path);
	e->is_pinned = false;
}

/* --- attaching ------------------------------------------------------------------------------- */

static struct wire_hook *find_hook(const struct wire_hooks *h, uint32_t ifindex)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->at[i].ifindex == ifindex)
			return &h->at[i];
	return NULL;
}

static struct wire_hook *add_hook(struct wire_hooks *h, uint32_t ifindex, const char *name)
{
	struct wire_hook *e;

	h->at = xreallocarray(h->at, h->n + 1, sizeof(*h->at));
	e = &h->at[h->n++];
	*e = (struct wire_hook){ .ifindex = ifindex, .tcx.link_fd = -1 };
	snprintf(e->name, sizeof(e->name), "%s", name);
	return e;
}

static int attach(struct wire_hooks *h, struct wire_hook *e)
{
	int rc = tcx_attach(&e->tcx, h->program_fd, e->ifindex, h->as_filters);

	e->is_attached = !rc;
	return rc;
}

static void attach_and_tell(struct wire_hooks *h, struct wire_hook *e)
{
	int rc = attach(h, e);

	if (!rc)
		log_line(h->is_trial ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
			 "wire: %s has the program now", e->name);
	else if (!e->is_told)
		log_warning("wire: %s can't have the program, connections by it stay with the "
			    "sockets: %s",
			    e->name, strerror(-rc));
	e->is_told = rc != 0;
}

static void attach_wanted(struct wire_hooks *h, const struct ingress *in)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct netlink_link *l = &in->devices[i].link;
		const char *unfit = ingress_unfit(l);
		struct wire_hook *e;

		if (!in->devices[i].is_wanted)
			continue;
		e = find_hook(h, l->ifindex);
		if (!e)
			e = add_hook(h, l->ifindex, l->name);
		if (!e->is_attached && !unfit)
			attach_and_tell(h, e);
		else if (unfit && !e->is_told)
			log_info("wire: connections by %s stay with the sockets: %s", l->name,
				 unfit);
		e->is_told |= unfit != NULL;
	}
}

/* Devices that are gone are forgotten, and with them what was attached; so is what somebody has
 * taken off. */
static void forget_gone(struct wire_hooks *h, const struct ingress *in)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++) {
		struct wire_hook *e = &h->at[i];
		const struct ingress_device *now = ingress_find(in, e->ifindex);
		bool is_lost = e->is_attached && !tcx_is_attached(&e->tcx, h->netlink);

		if (now && !is_lost) {
			/* Pinned anew under its new name when no other has that any more. */
			if (strcmp(e->name, now->link.name))
				unpin(h, e);
			memcpy(e->name, now->link.name, sizeof(e->name));
			h->at[n++] = *e;
			continue;
		}
		if (e->is_attached)
			log_info("wire: %s %s", e->name, now ? "has lost the program" : "is gone");
		unpin(h, e);
		tcx_leave(&e->tcx);
	}
	h->n = n;
}

/* --- taking over ----------------------------------------------------------------------------- */

static void take_over_pin(void *arg, const char *name)
{
	struct wire_hooks *h = arg;
	char path[PATH_MAX], name_now[NAME_MAX], device[IF_NAMESIZE] = "?";
	struct wire_hook *e;
	struct tcx t;
	int rc;

	pin_path(h->pin_folder, name, path);
	rc = tcx_take_over(&t, h->program_fd, path);
	if (rc == -EXDEV)
		log_warning("wire: %s is left alone: it is of another network namespace", path);
	else if (rc && rc != -ENODEV)
		log_warning("wire: %s can't be taken over: %s", path, strerror(-rc));
	if (rc == -ENODEV)
		unlink(path);
	if (rc)
		return;
	if_indextoname(t.ifindex, device);
	e = add_hook(h, t.ifindex, device);
	e->tcx = t;
	e->is_attached = true;
	pin_name(e, name_now);
	e->is_pinned = !strcmp(name, name_now);
	if (!e->is_pinned) /* the device has another name by now */
		unlink(path);
	log_info("wire: %s had the program already, which was replaced by this one's", e->name);
}

/* Calls `each` for what is pinned in the folder. -errno: it can't be read. */
static int for_each_pin(const char *folder, void (*each)(void *arg, const char *name), void *arg)
{
	struct dirent *entry;
	DIR *dir = opendir(folder);

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, PIN_PREFIX, strlen(PIN_PREFIX)))
			each(arg, entry->d_name);
	closedir(dir);
	return 0;
}

/* Filters that a process before this one has left: the kernel has no list of them, so each device
 * is asked. */
static int take_over_filters(struct wire_hooks *h)
{
	struct ingress in = { 0 };
	int rc = ingress_look(&in, h->netlink, NULL);

	for (size_t i = 0; !rc && i < in.n; i++) {
		const struct netlink_link *l = &in.devices[i].link;

		if (tcx_has_filter(h->netlink, l->ifindex))
			attach_and_tell(h, add_hook(h, l->ifindex, l->name));
	}
	ingress_free(&in);
	return rc;
}

int wire_hooks_take_over(struct wire_hooks *h)
{
	int rc = 0;

	if (h->as_filters)
		return take_over_filters(h);
	if (h->pin_folder)
		rc = for_each_pin(h->pin_folder, take_over_pin, h);
	pin_all(h);
	return rc;
}

/* --- life ------------------------------------------------------------------------------------ */

int wire_hooks_attach(struct wire_hooks *h, uint32_t ifindex)
{
	char name[IF_NAMESIZE] = "?";

	if (find_hook(h, ifindex))
		return 0;
	if_indextoname(ifindex, name);
	return attach(h, add_hook(h, ifindex, name));
}

void wire_hooks_update(struct wire_hooks *h, const struct ingress *in)
{
	forget_gone(h, in);
	attach_wanted(h, in);
	pin_all(h);
}

void wire_hooks_close(struct wire_hooks *h, bool leave)
{
	for (size_t i = 0; i < h->n; i++) {
		struct wire_hook *e = &h->at[i];

		if (!leave)
			unpin(h, e);
		if (e->is_attached && !leave)
			tcx_detach(&e->tcx, h->netlink);
		else
			tcx_leave(&e->tcx);
	}
	free(h->at);
	h->at = NULL;
	h->n = 0;
}

/* --- clearing -------------------------------------------------------------------------------- */

struct clearing {
	const char *folder;
	int n, error;
};

static void clear_pin(void *arg, const char *name)
{
	struct clearing *c = arg;
	char path[PATH_MAX];
	int rc;

	pin_path(c->folder, name, path);
	rc = tcx_remove_pinned(path);
	c->error = rc ? rc : c->error;
	c->n += !rc;
}

static int clear_filters(struct clearing *c)
{
	struct netlink *n = xcalloc(1, sizeof(*n));
	struct ingress in = { 0 };
	int rc = netlink_open(n);

	if (!rc)
		rc = ingress_look(&in, n, NULL);
	for (size_t i = 0; !rc && i < in.n; i++) {
		struct tcx filter = { .ifindex = in.devices[i].link.ifindex, .link_fd = -1 };

		if (!tcx_has_filter(n, filter.ifindex))
			continue;
		tcx_detach(&filter, n);
		c->n++;
	}
	ingress_free(&in);
	netlink_close(n);
	free(n);
	return rc;
}

int wire_hooks_clear(const char *pin_folder)
{
	struct clearing c = { .folder = pin_folder };
	int rc = for_each_pin(pin_folder, clear_pin, &c);

	if (rc == -ENOENT)
		rc = 0;
	if (!rc)
		rc = clear_filters(&c);
	if (!rc)
		rc = c.error;
	return rc ? rc : c.n;
}
