/* SPDX-License-Identifier: BSD-3-Clause */
/* A request of a simulated client, and what it looks like on the wire. */
#ifndef RMEM_SIM_REQUEST_H
#define RMEM_SIM_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/message.h"

struct request {
	uint8_t type;
	uint32_t seq;
	bool malformed; /* bytes are missing at its end */
	bool forged; /* a RELEASE with a key that nobody was told, and the number of an earlier request */
	union {
		struct hello_request hello;
		struct join_request join;
		struct alloc_request alloc;
		struct free_request free;
		struct attach_request attach;
		struct share_request share;
		struct lookup_request lookup;
		struct detach_request detach;
		struct unshare_request unshare;
		struct copy_request copy;
		struct fill_request fill;
		struct offer_request offer;
		struct accept_request accept;
		struct release_request release;
		struct revise_request revise;
		struct tell_request tell;
		struct fence_request fence;
		struct site_request site;
	};
};

/* Returns the number of bytes. */
size_t request_put(const struct request *q, uint8_t bytes[MESSAGE_MAX]);

#endif
