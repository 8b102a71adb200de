/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/torture/bound.h"
#include "tests/torture/heart.h"
#include "tests/torture/tag.h"
#include "tests/torture/worker.h"

#define WORKERS 3
#define HOG_BLOCKS 512
#define HOG_BYTES (256UL << 10)
#define HOG_HOLDS_MS 700
#define HOG_PATIENCE 8 /* calls that fail otherwise */
#define OPEN_MS 90000  /* within which a session must be open, whatever happens to rmemd */

struct me me;

bool client_calm(void)
{
	return atomic_load(&board->calm);
}

static bool open_session(void)
{
	static const int timeouts[] = { 1000, 2000, 3000, 5000 };
	int64_t limit = heart_now() + OPEN_MS * 1000000LL;
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	int rc;

	me.timeout_ms = timeouts[random_below(&me.seed, 4)];
	attr.timeout_ms = me.timeout_ms;
	attr.job = "torture";
	do {
		rc = TIMED(CALL_OPEN, bound_control(), rmem_open(me.server, &attr, &me.rm));
		if (rc == 0) {
			board_event(EVENT_SESSIONS, 1);
			return true;
		}
		heart_pause(50);
	} while (heart_now() < limit);
	board_complain(EVENT_STUCK, 1, 0, 0, "STUCK: owner %u could not open a session: %s",
		me.owner, rmem_errmsg());
	return false;
}

static void session(void)
{
	static struct worker workers[WORKERS];
	int64_t end = heart_now() + (int64_t)(3000 + random_below(&me.seed, 20000)) * 1000000;

	me.leaves = random_below(&me.seed, 2);
	atomic_store(&me.over, false);
	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i].number = i;
		workers[i].seed = random_u64(&me.seed);
		if (pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]))
			abort();
	}
	while (heart_now() < end && !client_calm())
		heart_pause(50);
	atomic_store(&me.over, true);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < WORKERS; i++)
		worker_forget(&workers[i]);
	TIMED(CALL_CLOSE, bound_control(), rmem_close(me.rm));
}

/* All the memory there is, for a moment: so whoever is gone loses his. */
static void hog(void)
{
	static rmem_addr_t addrs[HOG_BLOCKS];
	static uint64_t words[HOG_BYTES / 8];
	const struct rmem_alloc_attr blocks = {
		.size = sizeof(blocks), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ISOLATED
	};
	size_t bytes = HOG_BYTES;
	unsigned n = 0, unanswered = 0;
	int rc = 0;

	while (n < HOG_BLOCKS && bytes >= 4096 && unanswered < HOG_PATIENCE) {
		rc = TIMED(
			CALL_ALLOC, bound_control(), rmem_alloc(me.rm, bytes, &blocks, &addrs[n]));
		if (rc) {
			if (rc == -ENOSPC)
				bytes /= 2;
			else
				unanswered++;
			continue;
		}
		board_note("hog", me.owner, n, 0, addrs[n], bytes, 0);
		if (TIMED(CALL_READ, bound_copy(), rmem_read(me.rm, words, addrs[n], bytes)) == 0) {
			for (size_t i = 0; i < bytes / 8; i++) {
				if (!words[i])
					continue;
				board_complain(EVENT_WRONG_BYTES, 8, addrs[n] + i * 8, 8,
					"WRONG BYTES: fresh to a hog, 0x%016llx (owner %u gen %u)",
					(unsigned long long)words[i], tag_owner(words[i]),
					tag_gen(words[i]));
				break;
			}
		}
		n++;
	}
	if (rc == -ENOSPC)
		board_event(EVENT_HOGS, 1);
	heart_pause(HOG_HOLDS_MS);
	while (n--) {
		rc = TIMED(CALL_FREE, bound_control(), rmem_free(me.rm, addrs[n]));
		board_note("hog frees", me.owner, n, 0, addrs[n], 1, rc);
	}
}

int client_main(int argc, const char *const argv[])
{
	bool is_hog = argc > 7 && strcmp(argv[7], "hog") == 0;

	if (argc < 7)
		return 2;
	if (board_open(argv[2], 0))
		return 2;
	me.server = argv[3];
	me.owner = (unsigned)atoi(argv[4]);
	me.seed = strtoull(argv[5], NULL, 0);
	if (heart_start(atoi(argv[6])))
		return 2;
	if (is_hog) {
		if (open_session()) {
			hog();
			TIMED(CALL_CLOSE, bound_control(), rmem_close(me.rm));
		}
		return 0;
	}
	while (!client_calm() && atomic_load(&me.gen) < TAG_GENERATIONS - 10000)
		if (open_session())
			session();
	return 0;
}
