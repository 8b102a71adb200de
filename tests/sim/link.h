/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated network, in place of server/net/connection.c: links between a client and the server. What is sent
 * arrives in order and any time later, or never, when the link is cut; each end hears of that by itself, any time later.
 */
#ifndef RMEM_SIM_LINK_H
#define RMEM_SIM_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "server/net/connection.h"
#include "tests/sim/request.h"

#define LINKS_MAX 64
#define SENT_MAX 4
#define BACK_MAX 4
#define ENDS_MAX 32

struct client;
struct owner;

struct answer {
	struct request to; /* what it answers */
	size_t bytes;
	uint8_t data[768];
};

struct link {
	unsigned number;
	struct client *client; /* NULL: its client has let go of it */
	struct connection *c;  /* NULL: the server has none, any more */
	enum purpose purpose;
	bool cut;                      /* nothing passes any more */
	bool honest;                   /* its client has kept to the protocol */
	struct request sent[SENT_MAX]; /* to the server, oldest first */
	unsigned nsent;
	struct answer back[BACK_MAX]; /* to the client */
	unsigned nback;
	bool asked;  /* the server has a request and has not answered */
	bool frees;  /* the FREE that is asked is of what is lent */
	bool waited; /* ... not at once */
	bool unsure; /* of a HELLO: owner->unsure before it */
	bool over;   /* of a HELLO: the lease was, when it came */
	struct request question;
	uint64_t asked_ran_ns, asked_order;
	uint64_t asked_writes;   /* of a COPY: written by then; 0: others write there */
	uint64_t closing_ran_ns; /* since then it is being torn down */
	struct owner *owner;     /* whose session it is, as the server has said */
	uint64_t fencing_token;  /* under which it was made */
	struct {
		struct grant *grant;
		uint64_t ran_ns;
	} ends[ENDS_MAX]; /* invalidations that were posted, oldest first */
	unsigned nends;
	uint8_t buffer[MESSAGE_MAX];
};

extern struct link links[LINKS_MAX];

/* Replies that cannot be sent and invalidations that cannot be posted: once in so many, 0: never. */
void links_begin(unsigned fail_send, unsigned fail_post);
void links_server_died(void);
void links_close_zombies(void);

/* A new connection of a client; NULL: there are too many, or no server. */
struct link *link_connect(struct client *client, enum purpose purpose);
void link_send(struct link *link, const struct request *q);

/* The client is done with it. */
void link_let_go(struct link *link);

/* Is it for both ends as if nothing had happened? */
bool link_is_up(const struct link *link);

/* What may happen to it; the server's code. */
void link_deliver(struct link *link);  /* a request arrives; if nsent */
void link_complete(struct link *link); /* an invalidation is done; if nends */
void link_tell_server(struct link *link);

#endif
