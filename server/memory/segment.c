/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/segment.h"

#include <errno.h>
#include <stdlib.h>

#include "server/base/crew.h"

int segment_open(struct segment **out, const struct arena_config *config, struct errinfo *errinfo)
{
	struct segment *s = calloc(1, sizeof(*s));
	int err = s ? 0 : -ENOMEM;

	if (!err)
		err = buddy_create(config->bytes, &s->buddy);
	if (err) {
		errinfo_set(errinfo, err, "node %u: no memory for the allocator's own tables",
			config->node);
	} else {
		s->number = config->segment;
		s->node = config->node;
		err = arena_open(&s->arena, config, errinfo);
	}
	if (err)
		segment_close(s);
	else
		*out = s;
	return err;
}

void segment_close(struct segment *s)
{
	if (!s)
		return;
	arena_close(&s->arena);
	buddy_destroy(s->buddy);
	free(s);
}

struct populating {
	const struct segment *segment;
	const struct topology *topology;
	struct progress *progress;
	uint64_t told_bytes;
};

static bool tell(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct populating *p = arg;
	const uint64_t new_bytes = done_bytes - p->told_bytes;

	(void)total_bytes;
	p->told_bytes = done_bytes;
	return progress_add(p->progress, new_bytes);
}

static int populate(void *item, struct errinfo *errinfo)
{
	struct populating *p = item;
	int err = arena_populate(&p->segment->arena, p->topology, tell, p, errinfo);

	if (err)
		atomic_store(&p->progress->stop, true);
	return err;
}

int segment_populate(const struct segment *s, const struct topology *t, struct progress *progress,
	struct errinfo *errinfo)
{
	struct populating p = { s, t, progress, 0 };

	return populate(&p, errinfo);
}

int segments_populate(struct segment *const segments[], unsigned n, const struct topology *t,
	struct errinfo *errinfo)
{
	struct populating items[SEGMENTS_MAX];
	void *list[SEGMENTS_MAX];
	struct progress progress;
	const struct crew crew = { .work = populate, .watch = progress_watch, .arg = &progress };
	uint64_t total_bytes = 0;
	int err;

	for (unsigned i = 0; i < n; i++) {
		items[i] = (struct populating){ segments[i], t, &progress, 0 };
		list[i] = &items[i];
		total_bytes += segments[i]->arena.bytes;
	}
	progress_begin(&progress, "made ready", total_bytes);
	err = crew_run(&crew, list, n, errinfo);
	progress_end(&progress);
	return err;
}
