/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/data/keys.h"
#include "client/slabs/shadow.h"
#include "client/space/memory.h"
#include "client/space/perform.h"
#include "client/space/told.h"
#include "common/log.h"

#define LINE_SIZE 900 /* of a line in the log */
#define ROW_BYTES 16
#define ROWS_AROUND 3 /* before and after that of the address */
#define MAP_CELL_BYTES 8
#define MAP_CELLS 32

static _Atomic uint32_t reports;

int fault_transfer(struct rmem *rm, enum operation_kind kind, rmem_addr_t addr, void *bytes,
	size_t n, uint64_t deadline_ns)
{
	struct operation op = { .kind = kind,
		.is_journal = true,
		.timed = true,
		.deadline_ns = deadline_ns,
		.as_of = keys_as_of(&rm->session) };
	struct errinfo ignored = { "" };
	int rc = operation_plan_one(&op, bytes, addr, n, &ignored);

	return rc ? rc : perform(rm, &op, &ignored);
}

/* ---- call stacks ---- */

static void say_stack(
	struct rmem *rm, uint32_t report, const char *label, const struct stack *stack)
{
	struct site_description *d = site_describe(rm->session.heap, stack);
	char line[LINE_SIZE], frame[128];
	size_t at = 0;

	line[0] = '\0';
	for (unsigned i = 0; d && i < stack->depth; i++) {
		if (!site_frame(d, i, frame, sizeof(frame)))
			snprintf(frame, sizeof(frame), "%p", stack->addresses[i]);
		if (at + strlen(frame) + 4 >= sizeof(line))
			break;
		at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s", i ? " < " : "", frame);
	}
	site_description_destroy(d);
	log_error("RMEM_CHECK #%u: %s %s", report, label, at ? line : "(out of memory)");
}

static void say_site(struct rmem *rm, uint32_t report, const char *verb, uint32_t site)
{
	struct errinfo ignored;
	struct stack stack;
	char label[40];
	bool known = false;

	if (site && session_lock(&rm->session, session_deadline(&rm->session), &ignored) == 0) {
		known = sites_stack(rm->sites, site, &stack);
		session_unlock(&rm->session);
	}
	snprintf(label, sizeof(label), "%s at site %" PRIu32 ":", verb, site);
	if (known)
		say_stack(rm, report, label, &stack);
	else
		log_error(
			"RMEM_CHECK #%u: %s %s", report, label, site ? "(not here)" : "(unknown)");
}

/* ---- the memory ---- */

/* Bytes of this session's memory from addr on, at most n. */
static uint64_t bytes_there(const struct rmem *rm, uint64_t addr, uint64_t n)
{
	struct block_view block;
	uint64_t left;

	if (!blocks_view(&rm->session.blocks, addr, &block))
		return 0;
	left = block.bytes - (addr - block.addr);
	return left < n ? left : n;
}

/* false: it cannot be read, which may have taken long. What is not there is left out. */
static bool say_row(struct rmem *rm, uint32_t report, uint64_t row, bool here)
{
	const uint64_t n = bytes_there(rm, row, ROW_BYTES);
	char hex[3 * ROW_BYTES + 1] = "", text[ROW_BYTES + 1] = "";
	uint8_t bytes[ROW_BYTES];

	if (!n)
		return true;
	if (fault_transfer(rm, OPERATION_READ, row, bytes, n, session_deadline(&rm->session)))
		return false;
	for (unsigned i = 0; i < n; i++) {
		snprintf(hex + (size_t)3 * i, 4, " %02x", bytes[i]);
		text[i] = bytes[i] >= ' ' && bytes[i] < 0x7f ? (char)bytes[i] : '.';
	}
	log_error(
		"RMEM_CHECK #%u: %c 0x%" PRIx64 "%s  %s", report, here ? '>' : ' ', row, hex, text);
	return true;
}

static char object_letter(const struct slab *s, uint32_t slot, uint64_t cell)
{
	const uint64_t end = slab_object_bytes(s, slab_record(s, slot));
	const uint64_t at = cell - slab_slot_addr(s, slot);

	if (at + MAP_CELL_BYTES <= end)
		return 'L';
	if (at < end)
		return (char)('0' + (end - at));
	return shadow_get(s, slot) & SHADOW_GUARDED ? 'C' : '.';
}

static char map_letter(const struct rmem *rm, uint64_t cell)
{
	const struct slab *s = blocks_slab(&rm->session.blocks, cell);
	uint32_t slot, shadow;

	if (!s)
		return bytes_there(rm, cell, 1) ? 'L' : '-';
	slot = slab_slot_at(s, cell - s->addr);
	if (slot >= s->slots)
		return cell < s->addr + slab_bytes_used(s) ? 'R' : '-';
	shadow = shadow_get(s, slot);
	if (object_record_state(slab_record(s, slot)) == OBJECT_UNUSED)
		return 'U';
	if (object_record_state(slab_record(s, slot)) == OBJECT_LIVE || shadow & SHADOW_GUARDED)
		return object_letter(s, slot, cell);
	return shadow & SHADOW_QUARANTINE ? 'Q' : 'F';
}

static void say_map(struct rmem *rm, uint32_t report, uint64_t addr)
{
	const uint64_t row_bytes = (uint64_t)MAP_CELLS * MAP_CELL_BYTES;
	const uint64_t middle = addr & ~(row_bytes - 1);
	char line[MAP_CELLS + 1] = "";

	log_error(
		"RMEM_CHECK #%u: map, a letter for 8 bytes: L live, 1 to 7 so many live, C canary, "
		". unused end of a slot, "
		"Q freed and in quarantine, F freed, U never used, R records, - not this session's",
		report);
	for (uint64_t row = middle - row_bytes; row <= middle + row_bytes; row += row_bytes) {
		for (unsigned i = 0; i < MAP_CELLS; i++)
			line[i] = map_letter(rm, row + (uint64_t)i * MAP_CELL_BYTES);
		log_error("RMEM_CHECK #%u: %c 0x%" PRIx64 " %s", report, row == middle ? '>' : ' ',
			row, line);
	}
}

/* ---- the object ---- */

static const char *state_name(uint64_t record, uint32_t shadow)
{
	if (object_record_state(record) == OBJECT_LIVE)
		return "live";
	if (object_record_state(record) == OBJECT_TAKEN)
		return "freed by another session";
	if (shadow & SHADOW_GUARDED)
		return "being freed";
	return shadow & SHADOW_QUARANTINE ? "freed, in quarantine" : "freed";
}

static void say_object(struct rmem *rm, uint32_t report, uint64_t addr)
{
	const struct slab *s = blocks_slab(&rm->session.blocks, addr);
	const uint32_t slot = s ? slab_slot_at(s, addr - s->addr) : 0;
	const uint64_t record = s && slot < s->slots ? slab_record(s, slot) : 0;
	uint32_t shadow;

	if (object_record_state(record) == OBJECT_UNUSED) {
		log_error("RMEM_CHECK #%u: no small allocation of this session was ever there",
			report);
		return;
	}
	shadow = shadow_get(s, slot);
	log_error("RMEM_CHECK #%u: in the slot of an allocation of %" PRIu32 " bytes at 0x%" PRIx64
		  ", %s%s",
		report, slab_object_bytes(s, record), slab_slot_addr(s, slot),
		state_name(record, shadow),
		slab_is_shared(s, addr) ? "; other sessions may reach it" : "");
	say_site(rm, report, "allocated", object_record_unpack(record).site);
	if (shadow & (SHADOW_FILLED | SHADOW_QUARANTINE))
		say_site(rm, report, "freed", shadow & SHADOW_SITE);
}

/* What only the server knows: call stacks of other sessions. */
static void say_told(struct rmem *rm, uint32_t report, rmem_addr_t addr, const struct errinfo *why)
{
	struct tell_reply told;

	if (told_ask(rm, addr, session_deadline(&rm->session), &told)) {
		log_error("RMEM_CHECK #%u: the server says: %.800s", report, told.allocated);
		if (told.freed[0])
			log_error("RMEM_CHECK #%u: the server says: %.800s", report, told.freed);
	} else if (why) {
		log_error("RMEM_CHECK #%u: %s", report, why->text);
	}
}

void fault_report(struct rmem *rm, const char *what, rmem_addr_t addr, void *caller,
	const struct errinfo *why)
{
	const uint32_t report = atomic_fetch_add(&reports, 1) + 1;
	const uint64_t row = addr & ~(uint64_t)(ROW_BYTES - 1);
	struct stack stack;
	bool readable = true;

	if (log_threshold < LOG_LEVEL_ERROR)
		return;
	log_error("RMEM_CHECK #%u: %s 0x%" PRIx64, report, what, addr);
	memory_stack_here(&stack, caller);
	say_stack(rm, report, "called by:", &stack);
	say_object(rm, report, addr);
	say_told(rm, report, addr, why);
	for (int i = -ROWS_AROUND; i <= ROWS_AROUND && readable; i++)
		readable = say_row(rm, report, row + (uint64_t)(int64_t)(i * ROW_BYTES), i == 0);
	say_map(rm, report, addr);
}
