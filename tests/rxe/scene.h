/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scene for attacks: an rmemd, honest clients that work all the time, one whose keys and bytes we know, and
 * the attacker. A refused access ends the connection it came on, so each attempt has a connection of its own.
 * They are counted over all tests of a program.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka).
 */
#ifndef RMEM_TESTS_RXE_SCENE_H
#define RMEM_TESTS_RXE_SCENE_H

#include "tests/rxe/rig.h"

#include "tests/rxe/client.h"
#include "tests/rxe/party.h"

#define SCENE_TTL_MS 60000 /* nothing expires by accident, however slow the machine is */
#define SCENE_WORKERS 2
#define SCENE_OTHERS PARTY_BLOCKS_MAX /* allocations of the honest client whose keys we know */
#define SCENE_OWN 4
#define SCENE_OPCODES 4U

struct scene {
	struct rig *rig;
	struct client *workers[SCENE_WORKERS];
	struct party other, own;
	uint64_t random, begun_ns;
	unsigned long attempts_before;
};

extern const enum ibv_wr_opcode scene_opcodes[SCENE_OPCODES];

/* The program must play the roles of client.h. */
struct scene *scene_begin(struct scene *s, struct rig *rig, unsigned ttl_ms);

/* Nobody noticed anything. */
void scene_end(struct scene *s);

/* How an attacker's connection introduces itself. */
enum scene_disguise { SCENE_STRANGER, SCENE_OBSERVER, SCENE_RESUMED };
struct raw *scene_connect(struct scene *s, enum scene_disguise disguise);

/* As much of it as one access can move. */
uint64_t scene_word_bytes(uint64_t bytes);

/* One access that must be refused; the connection is used up. */
void scene_attempt(struct scene *s, struct raw *r, enum ibv_wr_opcode opcode, uint64_t addr,
	size_t bytes, uint32_t rkey);

/* The same key in all four ways, each time from somebody else. */
void scene_replay(struct scene *s, const struct grant_reply *g, unsigned turn);

/* All that this program has tried were so many at least, and all were refused: says how. */
void scene_assert_attempts(unsigned long min);

#endif
