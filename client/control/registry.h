/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's registered buffers: registering and releasing them, and moving them to another device when
 * the session does. Registering may take long, but holds up nothing except other calls of these. Any thread.
 */
#ifndef RMEM_CLIENT_CONTROL_REGISTRY_H
#define RMEM_CLIENT_CONTROL_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "client/control/session.h"

/* b has its bytes, and its start unless it is to be mapped. 0, -EINVAL, -ENOMEM. */
int registry_add(struct session *s, struct buffer *b, bool map, struct errinfo *errinfo);
/* -EINVAL: no buffer starts there. */
int registry_remove(struct session *s, uintptr_t start, struct errinfo *errinfo);

/* With control: the session's connections use this domain from now on. It is held here. */
void registry_move(struct session *s, struct domain *domain);

/* Let go of all registrations and of the domain. */
void registry_clear(struct session *s);

#endif
