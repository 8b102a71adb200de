/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/mappings.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PAGE_MASK 4095U

/* What is left of a line. */
struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *c, char expected)
{
	if (c->at == c->end || *c->at != expected)
		return false;
	c->at++;
	return true;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* At least one digit, and no more than fit. */
static bool take_number(struct cursor *c, unsigned base, uint64_t *out)
{
	const char *const first = c->at;
	uint64_t n = 0;

	for (; c->at < c->end; c->at++) {
		const int digit = digit_of(*c->at);

		if (digit < 0 || (unsigned)digit >= base)
			break;
		if (__builtin_mul_overflow(n, (uint64_t)base, &n) ||
			__builtin_add_overflow(n, (uint64_t)digit, &n))
			return false;
	}
	*out = n;
	return c->at > first;
}

static bool take_right(struct cursor *c, char letter, char otherwise, bool *out)
{
	*out = c->at < c->end && *c->at == letter;
	return take_char(c, *out ? letter : otherwise);
}

static bool begins(const struct cursor *c, const char *text)
{
	const size_t len = strlen(text);

	return (size_t)(c->end - c->at) >= len && memcmp(c->at, text, len) == 0;
}

static bool is(const struct cursor *c, const char *text)
{
	return begins(c, text) && (size_t)(c->end - c->at) == strlen(text);
}

static bool begins_with_one(const struct cursor *c, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (begins(c, texts[i]))
			return true;
	return false;
}

/* Is what has this name something else than memory? */
static bool names_device(const struct cursor *name)
{
	static const char *const devices[] = { "/dev/", "/sys/", "/proc/", "/dmabuf:" };
	static const char *const memory[] = { "/dev/shm/", "/dev/zero", "/dev/hugepages" };
	static const char *const ours[] = { "[anon:", "[anon_shmem:", "[stack:" };

	if (name->at == name->end || is(name, "[heap]") || is(name, "[stack]"))
		return false;
	if (*name->at == '/')
		return begins_with_one(name, devices, sizeof(devices) / sizeof(*devices)) &&
		       !begins_with_one(name, memory, sizeof(memory) / sizeof(*memory));
	/* anon_inode:[io_uring], socket:[7], [vvar]: no list of these is ever complete. */
	return !begins_with_one(name, ours, sizeof(ours) / sizeof(*ours));
}

static bool take_rights(struct cursor *c, struct mapping *m)
{
	bool executable;

	return take_right(c, 'r', '-', &m->readable) && take_right(c, 'w', '-', &m->writable) &&
	       take_right(c, 'x', '-', &executable) && take_right(c, 's', 'p', &m->shared);
}

bool mappings_parse(const char *line, size_t len, struct mapping *out)
{
	struct cursor c = { line, line + len };
	struct mapping m = { 0 };
	uint64_t skipped;

	if (!take_number(&c, 16, &m.start) || !take_char(&c, '-') || !take_number(&c, 16, &m.end) ||
		!take_char(&c, ' ') || !take_rights(&c, &m) || !take_char(&c, ' ') ||
		!take_number(&c, 16, &skipped) || !take_char(&c, ' ') ||
		!take_number(&c, 16, &skipped) || !take_char(&c, ':') ||
		!take_number(&c, 16, &skipped) || !take_char(&c, ' ') ||
		!take_number(&c, 10, &skipped))
		return false;
	if (m.start >= m.end || ((m.start | m.end) & PAGE_MASK))
		return false;
	if (c.at < c.end && !take_char(&c, ' '))
		return false;
	while (take_char(&c, ' '))
		;
	m.device = names_device(&c);
	m.stack = is(&c, "[stack]");
	*out = m;
	return true;
}

/* "Rss:   12 kB", "VmFlags: rd wr io": of the mapping before. false: neither. */
static bool take_detail(struct mappings *m, const char *line, size_t len)
{
	const char *const colon = memchr(line, ':', len);
	const struct cursor c = { line, line + len };

	if (!colon || colon == line || !m->pending_there)
		return false;
	for (const char *p = line; p < colon; p++)
		if (!(*p >= 'A' && *p <= 'Z') && !(*p >= 'a' && *p <= 'z') && *p != '_')
			return false;
	if (!begins(&c, "VmFlags:"))
		return true;
	for (const char *p = colon + 1; p + 3 <= c.end && (p + 3 == c.end || p[3] == ' '); p += 3)
		if (memcmp(p, " io", 3) == 0 || memcmp(p, " pf", 3) == 0)
			m->pending.device = true;
	return true;
}

/* 1: there is more, 0: that was all, or what read() says. */
static int fill(struct mappings *m)
{
	ssize_t got;

	memmove(m->buffer, m->buffer + m->at, m->have - m->at);
	m->have -= m->at;
	m->at = 0;
	do
		got = read(m->fd, m->buffer + m->have, sizeof(m->buffer) - m->have);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	m->have += (size_t)got;
	return got > 0;
}

/* The next line, or as much of it as there is room for: what comes after a name's first bytes does not matter. */
static int next_line(struct mappings *m, const char **line, size_t *len)
{
	for (;;) {
		const char *const start = m->buffer + m->at;
		const char *const feed = memchr(start, '\n', m->have - m->at);
		const bool was_cut = m->cut;
		int rc;

		if (feed || m->have - m->at == sizeof(m->buffer)) {
			*line = start;
			*len = feed ? (size_t)(feed - start) : m->have - m->at;
			m->at += *len + (feed != NULL);
			m->cut = !feed;
			if (was_cut)
				continue;
			return 1;
		}
		rc = fill(m);
		if (rc < 0)
			return rc;
		if (!rc)
			return m->have > m->at && !m->cut ? -EPROTO : 0;
	}
}

void mappings_begin(struct mappings *m, int fd)
{
	m->fd = fd;
	m->pending_there = m->at_end = m->cut = false;
	m->at = m->have = 0;
	m->reached = 0;
}

/* Neighbours that became one after the first had been told: only what is new of it. false: nothing. */
static bool clip(const struct mappings *m, struct mapping *new)
{
	if (new->start < m->reached)
		new->start = m->reached;
	return new->start < new->end;
}

int mappings_next(struct mappings *m, struct mapping *out)
{
	struct mapping new;
	const char *line;
	size_t len;
	bool full;
	int rc;

	while (!m->at_end) {
		rc = next_line(m, &line, &len);
		if (rc < 0)
			return rc;
		if (!rc) {
			m->at_end = true;
		} else if (mappings_parse(line, len, &new)) {
			full = m->pending_there;
			if (full)
				*out = m->pending;
			m->pending_there = clip(m, &new);
			m->pending = new;
			m->reached = new.end > m->reached ? new.end : m->reached;
			if (full)
				return 1;
		} else if (!take_detail(m, line, len)) {
			return -EPROTO;
		}
	}
	if (!m->pending_there)
		return 0;
	*out = m->pending;
	m->pending_there = false;
	return 1;
}
