/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must be true, kept beside the server and from nothing but what was said over the links: whose session is whose,
 * which blocks are lent, what is in them, and who may lose them. model_sync() compares it with the ledger.
 */
#ifndef RMEM_SIM_MODEL_H
#define RMEM_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "tests/sim/request.h"

#define PAGE_BYTES 4096ULL
#define PAGES_MAX 64 /* of a block */

/* A session. */
struct owner {
	unsigned number, process;
	uint8_t id[ID_SIZE], secret[ID_SIZE];
	uint64_t fencing_token;
	bool leaving;     /* it has said goodbye, */
	bool closed;      /* and that was answered */
	bool called_dead; /* the server has evidence, rightly */
	bool gone;        /* the server has forgotten it, rightly */
	bool lost;        /* its files are gone with the pool */
	bool was_over;    /* when the last server was killed, its lease may have been */
	bool unsure; /* it may have another fencing token by now, and the answer was lost; or it is retired */
	uint32_t next_seq, free_seq; /* the next request's; the last FREE's that was carried out */
	/* A sign of life that the server has seen for certain, and the last that it may have seen. */
	uint64_t sign_ns, late_ran_ns;
	uint64_t heard_ns;     /* as sign_ns, but a restart is none */
	uint64_t journaled_ns; /* what the server knew before it looked at the heartbeat page */
};

enum block_state { BLOCK_LENT, BLOCK_ENDING, BLOCK_GONE };

/* The keys of an allocation that the server has told. */
struct shares {
	bool any, to_read, to_free;
	uint8_t key[SHARE_KEY_SIZE], read_key[SHARE_KEY_SIZE], free_key[SHARE_KEY_SIZE];
	/* one that was good before they were revoked; else zero */
	uint8_t void_key[SHARE_KEY_SIZE];
	uint64_t
		record; /* of the object, when they were told: they are good as long as it is the same */
};

/* An allocation. */
struct block {
	enum block_state state;
	struct owner *owner;
	uint64_t serial, addr, bytes, block_bytes;
	uint32_t seq;
	uint8_t size_class;
	bool free_asked;   /* its owner has sent a FREE of it */
	bool detach_asked; /* somebody has sent a DETACH of it */
	bool stuck;        /* the device does not end a key that its owner has */
	struct shares shares;
	uint32_t unshared; /* how often they were revoked */
	bool unshare_asked;
	bool revise_asked; /* the server may have changed the record of the first object */
	bool offered;      /* its owner was told this key */
	uint8_t offer_key[SHARE_KEY_SIZE]; /* good until its shares are revoked */
	bool taken_for_want;       /* its session was to lose it while somebody waited for memory */
	uint64_t words[PAGES_MAX]; /* the first of each page */
	uint64_t
		moving; /* pages that a COPY or a FILL is asked to write, since they were last looked at */
	uint64_t written; /* by whichever write was the last */
};

void model_begin(void);
/* Nobody held anything when the server stopped: numbers begin anew. */
void model_forget_all(void);
/* A new server has found the files of the one before. */
void model_restarted(void);

struct owner *model_add_owner(unsigned process, const struct request *hello);
struct owner *model_owner(const uint8_t id[ID_SIZE]); /* or NULL */
struct owner *model_owner_of_token(uint64_t fencing_token);
struct owner *model_owner_at(unsigned i); /* NULL at the end */
struct owner *model_any_owner(void);      /* by chance; NULL: there is none */
void model_sign(struct owner *o);         /* seen for certain */
void model_late_sign(struct owner *o);    /* perhaps */

/* Its lease cannot be over yet; it must be. */
bool owner_lease_lasts(const struct owner *o);
bool owner_lease_is_over(const struct owner *o);
bool owner_is_alive(const struct owner *o); /* its process, and it has not let go of the session */
bool owner_has_connection(const struct owner *o);

struct block *model_add_block(struct owner *o, const struct alloc_reply *r, uint32_t seq);
struct block *model_block(uint64_t serial); /* not gone, or NULL */
struct block *model_block_at(unsigned i);   /* not gone; NULL at the end */
struct block *model_any_block(void);
bool model_is_ending(const struct block *b); /* the server has begun to take it back */
char *model_memory(const struct block *b);

/*
 * What of it can be shared: all; of a slab, the object in its first slot, if there is one. model_write_record(): there is one,
 * and its record is another than before.
 */
bool model_offers(const struct block *b, uint64_t *out_bytes, uint64_t *out_record);
void model_write_record(struct block *b);

uint64_t model_record(const struct block *b);

/* Does the key admit to that? */
bool model_key_admits(
	const struct block *b, const uint8_t key[SHARE_KEY_SIZE], bool *out_read_only);

/* Writes are counted, so that what was not written meanwhile can be compared. */
uint64_t model_next_write(void);

/* Fencing tokens and serial numbers ascend: it must be new. */
void model_new_token(uint64_t fencing_token);
bool model_knows_token(uint64_t fencing_token);
uint64_t model_last_token(void);
/* The server has said that nobody acts under it any more. */
void model_fence(uint64_t fencing_token);
bool model_is_fenced(uint64_t fencing_token);

/* Compare what the model knows with the ledger; fine in the middle of an event. */
void model_sync(void);
/* Does the ledger have more than the model? To be called between two events. */
void model_adopt(void);

#endif
