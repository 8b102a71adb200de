/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/net/probe.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/clock.h"
#include "common/denial.h"
#include "common/verbs.h"
#include "server/base/destroy.h"
#include "server/net/loopback.h"

#define ATTEMPTS 2 /* of a check that could not be decided: the machine may just be slow */
#define RECORD 64  /* bytes that a trial reads or writes */
#define PAGES 4    /* of a target; its window covers the two in the middle */

/* What all trials share. */
struct probe {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct verbs_port port;
	size_t page_bytes;
	bool remote_addresses; /* targets are known to peers by remote addresses */
	char *local;           /* where reads go and writes come from: a page */
	struct ibv_mr *local_mr;
	struct errinfo *note;
	bool *stuck; /* a window or region could not be destroyed */
};

/* Memory with a region, and a window over a part of it. */
struct target {
	char *memory; /* PAGES pages, all of the same byte */
	struct ibv_mr *region;
	struct ibv_mw *window;
	uint32_t rkey;
	uint64_t first; /* the address of memory's first byte, as peers say it */
	uint64_t window_addr, window_bytes;
};

struct trial {
	struct loopback pair;
	struct target target;
};

static int bind_window(
	const struct probe *p, const struct loopback *pair, struct target *t, unsigned rights)
{
	struct ibv_send_wr wr;
	uint8_t low;
	int err;

	/* The key's low byte must change; which one is ours to choose. */
	if (getrandom(&low, sizeof(low), 0) != sizeof(low))
		low = (uint8_t)clock_boot_ns();
	t->rkey = t->window->rkey ^ (1 + low % 255U);
	memset(&wr, 0, sizeof(wr));
	wr.opcode = IBV_WR_BIND_MW;
	wr.bind_mw.mw = t->window;
	wr.bind_mw.rkey = t->rkey;
	wr.bind_mw.bind_info.mr = t->region;
	wr.bind_mw.bind_info.addr = t->window_addr;
	wr.bind_mw.bind_info.length = t->window_bytes;
	wr.bind_mw.bind_info.mw_access_flags = rights;
	err = loopback_execute(pair, pair->holder, &wr, p->note);
	if (!err)
		t->window->rkey = t->rkey; /* libibverbs does not do it */
	return err;
}

static int invalidate_window(
	const struct probe *p, const struct loopback *pair, const struct target *t)
{
	struct ibv_send_wr wr;

	memset(&wr, 0, sizeof(wr));
	wr.opcode = IBV_WR_LOCAL_INV;
	wr.invalidate_rkey = t->rkey;
	return loopback_execute(pair, pair->holder, &wr, p->note);
}

/* Read or write RECORD bytes at a peer's address, through p->local. */
static int access_remote(const struct probe *p, const struct loopback *pair,
	enum ibv_wr_opcode opcode, uint64_t addr, uint32_t rkey)
{
	struct ibv_sge sge = { (uintptr_t)p->local, RECORD, p->local_mr->lkey };
	struct ibv_send_wr wr;

	memset(&wr, 0, sizeof(wr));
	wr.opcode = opcode;
	wr.sg_list = &sge;
	wr.num_sge = 1;
	wr.wr.rdma.remote_addr = addr;
	wr.wr.rdma.rkey = rkey;
	return loopback_execute(pair, pair->user, &wr, p->note);
}

/* Destroy window and region; the memory stays, so that what still reaches it is seen. */
static int target_revoke(const struct probe *p, struct target *t)
{
	int err = 0;

	if (t->window)
		err = DESTROY("a memory window", ibv_dealloc_mw(t->window));
	if (!err)
		t->window = NULL;
	if (!err && t->region)
		err = DESTROY("the region of a memory window", ibv_dereg_mr(t->region));
	if (!err)
		t->region = NULL;
	*p->stuck |= err != 0;
	return err;
}

/* tight: the region is exactly the window; else it is all of the memory. */
static int target_open(const struct probe *p, struct target *t, bool tight)
{
	size_t bytes = PAGES * p->page_bytes, skip = p->page_bytes;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *region;

	if (memory == MAP_FAILED)
		return errinfo_set(p->note, -errno, "no memory to try it on");
	t->memory = memory;
	memset(memory, 0x5a, bytes);
	t->first = p->remote_addresses ? addr_make(0, p->page_bytes) : (uintptr_t)memory;
	t->window_addr = t->first + skip;
	t->window_bytes = bytes - 2 * skip;
	region = t->memory + (tight ? skip : 0);
	t->region = ibv_reg_mr_iova(p->pd, region, tight ? t->window_bytes : bytes,
		t->first + (uint64_t)(region - t->memory),
		IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
	if (!t->region)
		return denial_explain(DENIED_PINNED, verbs_errno(),
			p->remote_addresses ? "registering memory for windows at a remote address"
					    : "registering memory for windows",
			p->note);
	t->window = ibv_alloc_mw(p->pd, IBV_MW_TYPE_2);
	if (!t->window)
		return denial_explain(
			DENIED_PINNED, verbs_errno(), "a type-2 memory window", p->note);
	return 0;
}

static int target_close(const struct probe *p, struct target *t)
{
	int err = target_revoke(p, t);

	if (!err && t->memory)
		munmap(t->memory, PAGES * p->page_bytes);
	return err;
}

/* Inside the window a write and a read arrive, with the right bytes at the right place. */
static int control(const struct probe *p, const struct trial *t)
{
	char *place = t->target.memory + (t->target.window_addr - t->target.first);
	int err;

	memset(p->local, 0x11, RECORD);
	err = access_remote(p, &t->pair, IBV_WR_RDMA_WRITE, t->target.window_addr, t->target.rkey);
	if (err)
		return err;
	if (memcmp(place, p->local, RECORD) != 0)
		return errinfo_set(p->note, -EIO, "a write through a window goes astray");
	memset(place, 0x5a, RECORD);
	err = access_remote(p, &t->pair, IBV_WR_RDMA_READ, t->target.window_addr, t->target.rkey);
	if (err)
		return err;
	if (memcmp(place, p->local, RECORD) != 0)
		return errinfo_set(p->note, -EIO, "a read through a window brings other bytes");
	return 0;
}

/*
 * The window goes first: a queue pair that has one, or broke with one, must not be destroyed (rxe blocks for
 * 50 s, and then has freed what the window still points to). If it does not go, everything stays as it is
 * until the process ends; the kernel then begins with the window.
 */
static void trial_close(const struct probe *p, struct trial *t)
{
	if (!target_close(p, &t->target))
		loopback_close(&t->pair);
}

static int trial_open(const struct probe *p, struct trial *t, bool tight)
{
	int err;

	memset(t, 0, sizeof(*t));
	err = loopback_open(&t->pair, p->pd, &p->port, p->note);
	if (!err)
		err = target_open(p, &t->target, tight);
	if (!err)
		err = bind_window(
			p, &t->pair, &t->target, IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
	if (!err)
		err = control(p, t);
	if (err)
		trial_close(p, t);
	return err;
}

static bool untouched(const struct probe *p, const struct target *t)
{
	for (size_t i = 0; i < PAGES * p->page_bytes; i++) {
		if (t->memory[i] != 0x5a)
			return false;
	}
	return true;
}

/* The forbidden access: the victim's memory at addr, with the victim's key, from a pair. */
static enum probe_outcome offend(const struct probe *p, const struct loopback *from,
	const struct target *victim, enum ibv_wr_opcode opcode, uint64_t addr)
{
	int err;

	memset(p->local, 0x22, RECORD);
	err = access_remote(p, from, opcode, addr, victim->rkey);
	if (!err || !untouched(p, victim))
		return PROBE_ALLOWED;
	return err == -EACCES ? PROBE_REFUSED : PROBE_FAILED;
}

/* How a trial goes wrong on purpose. Where it misses the window is relative to the window's start. */
struct offence {
	enum probe_outcome (*commit)(
		const struct probe *p, const struct offence *o, enum ibv_wr_opcode opcode);
	bool tight;
	int64_t place;
};

static enum probe_outcome use_elsewhere(
	const struct probe *p, const struct offence *o, enum ibv_wr_opcode opcode)
{
	enum probe_outcome outcome = PROBE_FAILED;
	struct trial victim, stranger;

	if (trial_open(p, &victim, o->tight))
		return PROBE_FAILED;
	if (!trial_open(p, &stranger, o->tight)) {
		outcome = offend(
			p, &stranger.pair, &victim.target, opcode, victim.target.window_addr);
		trial_close(p, &stranger);
	}
	trial_close(p, &victim);
	return outcome;
}

static enum probe_outcome use_invalidated(
	const struct probe *p, const struct offence *o, enum ibv_wr_opcode opcode)
{
	enum probe_outcome outcome = PROBE_FAILED;
	struct trial t;

	if (trial_open(p, &t, o->tight))
		return PROBE_FAILED;
	if (!invalidate_window(p, &t.pair, &t.target))
		outcome = offend(p, &t.pair, &t.target, opcode, t.target.window_addr);
	trial_close(p, &t);
	return outcome;
}

static enum probe_outcome use_destroyed(
	const struct probe *p, const struct offence *o, enum ibv_wr_opcode opcode)
{
	enum probe_outcome outcome = PROBE_FAILED;
	struct trial t;

	if (trial_open(p, &t, o->tight))
		return PROBE_FAILED;
	if (!target_revoke(p, &t.target))
		outcome = offend(p, &t.pair, &t.target, opcode, t.target.window_addr);
	trial_close(p, &t);
	return outcome;
}

static enum probe_outcome use_outside(
	const struct probe *p, const struct offence *o, enum ibv_wr_opcode opcode)
{
	enum probe_outcome outcome;
	struct trial t;

	if (trial_open(p, &t, o->tight))
		return PROBE_FAILED;
	outcome = offend(p, &t.pair, &t.target, opcode, t.target.window_addr + (uint64_t)o->place);
	trial_close(p, &t);
	return outcome;
}

/* A window that was bound anew, for reading only: a read of it is no offence, and must work. */
static enum probe_outcome use_to_write(
	const struct probe *p, const struct offence *o, enum ibv_wr_opcode opcode)
{
	enum probe_outcome outcome = PROBE_FAILED;
	struct trial t;
	int err;

	if (trial_open(p, &t, o->tight))
		return PROBE_FAILED;
	err = invalidate_window(p, &t.pair, &t.target);
	if (!err)
		err = bind_window(p, &t.pair, &t.target, IBV_ACCESS_REMOTE_READ);
	if (!err && opcode == IBV_WR_RDMA_READ)
		err = access_remote(p, &t.pair, opcode, t.target.window_addr, t.target.rkey);
	if (!err)
		outcome = opcode == IBV_WR_RDMA_READ
				  ? PROBE_REFUSED
				  : offend(p, &t.pair, &t.target, opcode, t.target.window_addr);
	trial_close(p, &t);
	return outcome;
}

/* Try an offence by reading and by writing. A failure is noted. */
static enum probe_outcome try_offence(
	const struct probe *p, const struct offence *o, struct errinfo *failure)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_READ, IBV_WR_RDMA_WRITE };
	bool failed = false;

	for (int i = 0; i < 2; i++) {
		enum probe_outcome outcome = PROBE_FAILED;

		for (int n = 0; n < ATTEMPTS && outcome == PROBE_FAILED; n++)
			outcome = o->commit(p, o, opcodes[i]);
		if (outcome == PROBE_ALLOWED)
			return PROBE_ALLOWED;
		if (outcome == PROBE_FAILED) {
			failed = true;
			*failure = *p->note;
		}
	}
	return failed ? PROBE_FAILED : PROBE_REFUSED;
}

/* The worst of several offences. */
static enum probe_outcome check(
	const struct probe *p, const struct offence *offences, size_t n, struct errinfo *failure)
{
	bool failed = false;

	for (size_t i = 0; i < n; i++) {
		enum probe_outcome outcome = try_offence(p, &offences[i], failure);

		if (outcome == PROBE_ALLOWED)
			return PROBE_ALLOWED;
		failed |= outcome == PROBE_FAILED;
	}
	return failed ? PROBE_FAILED : PROBE_REFUSED;
}

static enum probe_outcome check_outside(const struct probe *p, bool tight, struct errinfo *failure)
{
	const int64_t end = (int64_t)((PAGES - 2) * p->page_bytes);
	const struct offence offences[] = {
		{ use_outside, tight, -RECORD },
		{ use_outside, tight, end - RECORD / 2 },
		{ use_outside, tight, end },
	};

	return check(p, offences, 3, failure);
}

/* Do windows work here at all, and by remote addresses? */
static int check_controls(struct probe *p, struct probe_result *r, struct errinfo *errinfo)
{
	struct trial t;
	int err;

	p->remote_addresses = true;
	err = trial_open(p, &t, false);
	if (!err) {
		r->remote_address = PROBE_ALLOWED;
		trial_close(p, &t);
		return 0;
	}
	r->note = *p->note;
	p->remote_addresses = false;
	err = trial_open(p, &t, false);
	if (!err) {
		r->remote_address = PROBE_FAILED;
		trial_close(p, &t);
		return 0;
	}
	return errinfo_set(errinfo, err == -ENOMEM ? err : -EOPNOTSUPP,
		"device %s cannot lend memory through type-2 windows: %.420s",
		ibv_get_device_name(p->ctx->device), p->note->text);
}

static int run_checks(struct probe *p, struct probe_result *r, struct errinfo *errinfo)
{
	const struct offence elsewhere = { use_elsewhere, false, 0 };
	const struct offence revoked[] = { { use_invalidated, false, 0 },
		{ use_destroyed, true, 0 } };
	const struct offence to_write = { use_to_write, false, 0 };
	int err = check_controls(p, r, errinfo);

	if (err)
		return err;
	r->other_queue_pair = check(p, &elsewhere, 1, &r->note);
	r->revoked_key = check(p, revoked, 2, &r->note);
	r->write_to_read_only = check(p, &to_write, 1, &r->note);
	r->outside_window = check_outside(p, false, &r->note);
	r->outside_region = check_outside(p, true, &r->note);
	return 0;
}

int probe_run(struct ibv_context *ctx, struct ibv_pd *pd, struct in_addr addr,
	struct probe_result *out, struct errinfo *errinfo)
{
	struct errinfo scratch = { "" };
	bool stuck = false;
	struct probe p = { .ctx = ctx, .pd = pd, .note = &scratch, .stuck = &stuck };
	struct probe_result result = { 0 };
	void *local;
	int err;

	err = verbs_find_port(ctx, addr, &p.port, errinfo);
	if (err)
		return err;
	p.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	local = mmap(
		NULL, p.page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (local == MAP_FAILED)
		return errinfo_set(errinfo, -errno, "no memory to probe the device with");
	p.local = local;
	p.local_mr = ibv_reg_mr(pd, p.local, p.page_bytes, IBV_ACCESS_LOCAL_WRITE);
	if (!p.local_mr) {
		err = denial_explain(DENIED_PINNED, verbs_errno(),
			"registering memory with the device", errinfo);
	} else {
		err = run_checks(&p, &result, errinfo);
		DESTROY("a region", ibv_dereg_mr(p.local_mr));
		if (!err && stuck)
			err = errinfo_set(errinfo, -EIO,
				"device %s does not destroy its memory windows: nothing could ever "
				"be taken back from who uses them",
				ibv_get_device_name(ctx->device));
	}
	munmap(p.local, p.page_bytes);
	if (!err)
		*out = result;
	return err;
}

const char *probe_outcome_name(enum probe_outcome outcome)
{
	switch (outcome) {
	case PROBE_REFUSED:
		return "refused";
	case PROBE_ALLOWED:
		return "allowed";
	case PROBE_FAILED:
		break;
	}
	return "failed";
}
