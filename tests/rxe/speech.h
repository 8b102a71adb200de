/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control messages of every type that are right, to be spoiled, and said on a connection of the right kind: for
 * tests of what rmemd does with those that no honest client sends. One thread.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka).
 */
#ifndef RMEM_TESTS_RXE_SPEECH_H
#define RMEM_TESTS_RXE_SPEECH_H

#include "tests/rxe/raw_session.h"
#include "tests/rxe/rig.h"

struct speech {
	uint8_t bytes[MESSAGE_MAX + 8];
	size_t n;
};

/* A whole message, or only what is behind its header. */
void speech_make(struct speech *m, enum message_type type, uint32_t seq);
void speech_put_body(struct wire *w, enum message_type type);
void speech_put_names(struct wire *w, uint32_t site, uint8_t n);

/* Is it asked by observers, not by sessions? */
bool speech_is_for_observers(unsigned type);

/* A connection on which a message of that type would be in order. */
struct raw *speech_connect(const struct rig *rig, unsigned type);

/* Its status, or -ECONNRESET when the connection was ended instead. */
int speech_say(struct raw *r, const void *bytes, size_t n);

/* The message ends a connection on which it comes alone. */
void speech_assert_cut_off(const struct rig *rig, unsigned type, const void *bytes, size_t n);

/*
 * An honest client is served, nobody holds anything in the end, and so nothing stays behind either. The
 * program must play the roles of client.h.
 */
void speech_end(struct rig *rig);

#endif
