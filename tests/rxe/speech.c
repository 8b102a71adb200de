/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/speech.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/rxe/outside.h"

/* ---- making ---- */

static void put_hello(struct wire *w)
{
	struct raw_session s;

	raw_session_init(&s);
	snprintf(s.hello.identity.exe, sizeof(s.hello.identity.exe), "x");
	snprintf(s.hello.identity.cmdline, sizeof(s.hello.identity.cmdline), "x y");
	hello_request_put(w, &s.hello);
}

static void put_site(struct wire *w, uint64_t offset)
{
	static struct site_request q;

	memset(&q, 0, sizeof(q));
	q.nmodules = q.nframes = 2;
	snprintf(q.modules[0].path, sizeof(q.modules[0].path), "/bin/a");
	snprintf(q.modules[1].path, sizeof(q.modules[1].path), "/lib/b");
	q.frames[0] = (struct site_frame){ 0, offset };
	q.frames[1] = (struct site_frame){ 1, 4711 };
	site_request_put(w, &q);
}

void speech_put_names(struct wire *w, uint32_t site, uint8_t n)
{
	static struct site_names_request q;

	memset(&q, 0, sizeof(q));
	q.site = site;
	q.nnames = n;
	for (unsigned i = 0; i < n; i++) {
		snprintf(q.names[i].function, sizeof(q.names[i].function), "f%u", i);
		snprintf(q.names[i].file, sizeof(q.names[i].file), "f.c");
	}
	site_names_request_put(w, &q);
}

void speech_put_body(struct wire *w, enum message_type type)
{
	switch (type) {
	case MESSAGE_HELLO:
		put_hello(w);
		break;
	case MESSAGE_ALLOC:
		alloc_request_put(w, &(struct alloc_request){ .bytes = 4096 });
		break;
	case MESSAGE_FREE:
		free_request_put(w, &(struct free_request){ .addr = 4096 });
		break;
	case MESSAGE_ATTACH:
		attach_request_put(w, &(struct attach_request){ .addr = 4096 });
		break;
	case MESSAGE_SITE:
		put_site(w, 1);
		break;
	case MESSAGE_SITE_NAMES:
		speech_put_names(w, 1, 2);
		break;
	case MESSAGE_JOIN: /* of a session that does not exist */
		join_request_put(w, &(struct join_request){ .session_id = { 1 } });
		break;
	case MESSAGE_SHARE:
		share_request_put(w, &(struct share_request){ .addr = 4096 });
		break;
	case MESSAGE_LOOKUP:
		lookup_request_put(w, &(struct lookup_request){ .addr = 4096 });
		break;
	case MESSAGE_DETACH:
		detach_request_put(w, &(struct detach_request){ .addr = 4096 });
		break;
	case MESSAGE_UNSHARE:
		unshare_request_put(w, &(struct unshare_request){ .addr = 4096 });
		break;
	case MESSAGE_COPY:
		copy_request_put(w, &(struct copy_request){ .dst = { .addr = 4096 } });
		break;
	case MESSAGE_FILL:
		fill_request_put(w, &(struct fill_request){ .dst = { .addr = 4096 } });
		break;
	case MESSAGE_OFFER:
		offer_request_put(w, &(struct offer_request){ .addr = 4096 });
		break;
	case MESSAGE_ACCEPT:
		accept_request_put(w, &(struct accept_request){ .addr = 4096 });
		break;
	case MESSAGE_FENCE:
		fence_request_put(w, &(struct fence_request){ .fencing_token = 1 });
		break;
	case MESSAGE_REPORT:
		report_request_put(w, &(struct report_request){ "{\"cmd\":\"status\"}" });
		break;
	case MESSAGE_REPORT_READ:
		report_read_request_put(w, &(struct report_read_request){ 0 });
		break;
	default: /* BYE and RENEW have none */
		break;
	}
}

void speech_make(struct speech *m, enum message_type type, uint32_t seq)
{
	const struct header h = { .type = (uint8_t)type, .seq = seq };
	struct wire w = wire_over(m->bytes, MESSAGE_MAX);

	memset(m, 0, sizeof(*m));
	header_put(&w, &h);
	speech_put_body(&w, type);
	assert_false(w.failed);
	m->n = w.pos;
}

/* ---- saying ---- */

bool speech_is_for_observers(unsigned type)
{
	return type == MESSAGE_REPORT || type == MESSAGE_REPORT_READ;
}

struct raw *speech_connect(const struct rig *rig, unsigned type)
{
	const struct raw_attr attr = { .purpose = type == MESSAGE_HELLO  ? PURPOSE_SESSION
						  : type == MESSAGE_JOIN ? PURPOSE_CHANNEL
									 : PURPOSE_OBSERVER };
	struct raw_session s;
	struct raw *r = NULL;

	if (type == MESSAGE_HELLO || type == MESSAGE_JOIN || speech_is_for_observers(type)) {
		assert_int_equal(raw_connect(rig->port, &attr, &r), 0);
		return r;
	}
	raw_session_init(&s);
	assert_int_equal(raw_open(rig->port, &s, &r), 0);
	return r;
}

int speech_say(struct raw *r, const void *bytes, size_t n)
{
	struct header h;
	struct wire reply;
	int err = raw_send(r, bytes, n);

	if (!err)
		err = raw_receive(r, &reply);
	if (err)
		return err;
	header_get(&reply, &h);
	assert_false(reply.failed);
	assert_in_range(-h.status, 0, 4095);
	return h.status;
}

void speech_assert_cut_off(const struct rig *rig, unsigned type, const void *bytes, size_t n)
{
	struct raw *r = speech_connect(rig, type);
	int err = speech_say(r, bytes, n);

	if (err != -ECONNRESET)
		fail_msg("a %s of %zu bytes: %s", message_name((uint8_t)type), n,
			err ? strerror(-err) : "answered");
	raw_close(r);
}

void speech_end(struct rig *rig)
{
	rig_assert_serves(rig);
	rig_end(rig);
}
