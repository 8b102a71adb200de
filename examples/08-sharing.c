/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 08-sharing: two processes use one allocation.
 *
 * The one that made it gets a key for it and passes both on, here through a pipe; by whatever way, they are
 * plain bytes. The other one attaches it, and from then on its address works there too. Who gets to write
 * what, and when, is between them: here each writes its own line, and a counter says who was there. What the guest is
 * only to read gets a key for reading only.
 *
 *	08-sharing [HOST[:PORT]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rmem/rmem.h>

/* In remote memory. */
struct page {
	uint64_t visitors;
	char lines[2][64];
};

/* What the other process has to know. */
struct invitation {
	rmem_addr_t page, notice;
	struct rmem_share_key key, notice_key;
};

static const char rules[] = "leave it as you found it";

static int failed(const char *who)
{
	fprintf(stderr, "08-sharing: %s: %s\n", who, rmem_errmsg());
	return -1;
}

static int visit(struct rmem *rm, rmem_addr_t page, int line, const char *text)
{
	rmem_addr_t at = page + offsetof(struct page, lines) + (size_t)line * 64;

	/* Words that several change at once are changed by atomic operations only. */
	return rmem_write(rm, at, text, strlen(text)) ||
	       rmem_fetch_add(rm, page + offsetof(struct page, visitors), 1, NULL);
}

/* The other process: a session of its own. */
static int guest(const char *server, int from)
{
	struct invitation invitation;
	struct rmem *rm = NULL;
	char notice[sizeof(rules)] = "";
	size_t bytes = 0;
	int err;

	if (read(from, &invitation, sizeof(invitation)) != sizeof(invitation))
		return -1; /* the host could not invite us, and has said why */
	err = rmem_open(server, NULL, &rm) ||
	      rmem_attach(rm, invitation.page, &invitation.key, &bytes) ||
	      visit(rm, invitation.page, 1, "the guest was here") ||
	      rmem_detach(rm, invitation.page) ||
	      rmem_attach(rm, invitation.notice, &invitation.notice_key, NULL) ||
	      rmem_read(rm, notice, invitation.notice, sizeof(notice));
	if (err)
		failed("the guest");
	/* It stays attached, until the host ends that. */
	else if (rmem_write(rm, invitation.notice, "x", 1) == -EACCES)
		printf("the guest has read '%s'\n", notice);
	fflush(stdout);
	return rmem_close(rm) || err || bytes != sizeof(struct page);
}

/* Who allocates owns: the memory is freed here, and would be this process's leak. */
static int host(struct rmem *rm, int to, pid_t child)
{
	const struct rmem_share_attr to_read = { sizeof(to_read), RMEM_SHARE_READ_ONLY, 0 };
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	struct invitation invitation;
	struct page page;
	int status;

	if (rmem_alloc(rm, sizeof(page), &zeroed, &invitation.page) ||
		visit(rm, invitation.page, 0, "the host was here") ||
		rmem_share(rm, invitation.page, &invitation.key) ||
		rmem_alloc(rm, sizeof(rules), NULL, &invitation.notice) ||
		rmem_write(rm, invitation.notice, rules, sizeof(rules)) ||
		rmem_share_with(rm, invitation.notice, &to_read, &invitation.notice_key))
		return failed("the host");
	if (write(to, &invitation, sizeof(invitation)) != sizeof(invitation) ||
		waitpid(child, &status, 0) != child || status)
		return -1;
	/* From here on the keys are worth nothing to any process that has kept one. */
	if (rmem_unshare(rm, invitation.page) || rmem_unshare(rm, invitation.notice) ||
		rmem_read(rm, &page, invitation.page, sizeof(page)))
		return failed("the host");
	printf("%.64s\n%.64s\n%" PRIu64 " visitors\n", page.lines[0], page.lines[1], page.visitors);
	return rmem_free(rm, invitation.page) || rmem_free(rm, invitation.notice)
		       ? failed("the host")
		       : 0;
}

int main(int argc, char **argv)
{
	const char *server = argc > 1 ? argv[1] : NULL;
	struct rmem *rm = NULL;
	int ends[2], err;
	pid_t child;

	/* First fork, then open: a session does not go to the child. */
	if (pipe(ends))
		return 1;
	child = fork();
	if (child <= 0) {
		close(ends[1]);
		return child || guest(server, ends[0]);
	}
	err = rmem_open(server, NULL, &rm) ? failed("the host") : host(rm, ends[1], child);
	return rmem_close(rm) || err;
}
