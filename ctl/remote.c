/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/endpoint.h"
#include "common/message.h"
#include "ctl/reply.h"

struct conversation {
	struct endpoint *endpoint;
	uint64_t deadline_ns;
	uint32_t seq;
};

static int garbled(struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EBADMSG, "the server's answer is malformed: another version?");
}

/* Have the report made and kept for us; learn its length. */
static int ask(
	struct conversation *t, const char *request, uint64_t *out_total, struct errinfo *errinfo)
{
	struct report_request question = { 0 };
	struct report_reply answer;
	uint8_t buf[REPORT_REQUEST_SIZE + 16];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	int err;

	if (strlen(request) >= sizeof(question.request))
		return errinfo_set(errinfo, -EINVAL, "the request is too long");
	memcpy(question.request, request, strlen(request));
	report_request_put(&body, &question);
	err = endpoint_call(
		t->endpoint, MESSAGE_REPORT, ++t->seq, &body, t->deadline_ns, &reply, errinfo);
	if (err)
		return err;
	report_reply_get(&reply, &answer);
	if (wire_finish(&reply))
		return garbled(errinfo);
	if (answer.total_bytes == 0 || answer.total_bytes > REPLY_MAX_BYTES)
		return errinfo_set(errinfo, -EMSGSIZE,
			"the server announces a report of %llu bytes; %u at most are taken",
			(unsigned long long)answer.total_bytes, REPLY_MAX_BYTES);
	*out_total = answer.total_bytes;
	return 0;
}

static int read_chunk(struct conversation *t, uint64_t offset, struct report_read_reply *out,
	struct errinfo *errinfo)
{
	struct report_read_request question = { .offset = offset };
	uint8_t buf[16];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	int err;

	report_read_request_put(&body, &question);
	err = endpoint_call(
		t->endpoint, MESSAGE_REPORT_READ, ++t->seq, &body, t->deadline_ns, &reply, errinfo);
	if (err)
		return err;
	report_read_reply_get(&reply, out);
	return wire_finish(&reply) ? garbled(errinfo) : 0;
}

static int read_all(struct conversation *t, char *text, uint64_t total, struct errinfo *errinfo)
{
	struct report_read_reply chunk;
	uint64_t got = 0;

	while (got < total) {
		int err = read_chunk(t, got, &chunk, errinfo);

		if (err)
			return err;
		/* an empty chunk would make us ask for ever */
		if (chunk.chunk_bytes == 0 || chunk.chunk_bytes > total - got)
			return garbled(errinfo);
		memcpy(text + got, chunk.chunk, chunk.chunk_bytes);
		got += chunk.chunk_bytes;
	}
	return 0;
}

int remote_ask(const struct target *server, const char *request, uint64_t deadline_ns, char **out,
	size_t *out_size, struct errinfo *errinfo)
{
	struct target_path paths[TARGET_PATHS_MAX];
	struct endpoint_attr attr = { .paths = paths,
		.purpose = PURPOSE_OBSERVER,
		.deadline_ns = deadline_ns,
		.cancel_fd = -1 };
	struct conversation t = { .deadline_ns = deadline_ns };
	uint64_t total;
	char *text = NULL;
	int err;

	attr.npaths = target_resolve(server, NULL, deadline_ns, paths, errinfo);
	if (attr.npaths < 0)
		return attr.npaths;
	attr.heap = heap_create();
	if (!attr.heap)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	err = endpoint_connect(&attr, &t.endpoint, errinfo);
	if (err)
		goto out;
	err = ask(&t, request, &total, errinfo);
	if (err)
		goto out;
	text = malloc(total);
	if (!text) {
		err = errinfo_set(errinfo, -ENOMEM, "out of memory");
		goto out;
	}
	err = read_all(&t, text, total, errinfo);
	if (err)
		goto out;
	*out = text;
	*out_size = total;
	text = NULL;
out:
	free(text);
	endpoint_destroy(t.endpoint);
	heap_destroy(attr.heap);
	return err;
}
