/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmem: memory lent over RDMA.
 *
 * Every function returns 0 or a negative errno value unless it says otherwise. Outputs come last
 * and are written only on success. After a failure rmem_errmsg() tells the calling thread, in one
 * sentence, what went wrong and what helps. The library never prints (unless $RMEM_LOG asks for
 * it), never exits and never aborts.
 *
 * Structs that begin with a size can grow at the end. What a program was built with may be shorter than the
 * library's, and longer if what the library does not know is zero; else -E2BIG. What is shorter than the first version
 * is -EINVAL, and so is a flag that the library does not know. All start with their _INIT macro.
 *
 * Threads: a struct rmem may be used from any number of threads at once, except that rmem_close()
 * must be the last call on it. After fork() only the parent may use it; the child gets -EPERM
 * (rmem_close() there only frees local memory).
 *
 * Errors that any call on an open struct rmem can return:
 *	-EINVAL		an argument is wrong; nothing was done
 *	-E2BIG		(calls with a struct that has a size) the program was built for a newer library, and uses a
 *			field that this one does not know; nothing was done
 *	-EPERM		called in a child after fork(); or the kernel lets this process send nothing any more,
 *			because its credentials have changed since rmem_open() (soft-RoCE: setuid(), setgid(),
 *			capabilities): change them first
 *	-ESTALE		the lease may have ended and the memory may be lent to somebody else: its
 *			contents are gone for this process
 *	-ETIMEDOUT	the server does not answer
 *	-ECONNRESET	the connection broke and could not be made again in time; the next call tries
 *			again
 *	-ENOMEM		this process (not the pool) is out of memory or may not lock more
 *	-EOWNERDEAD	(calls that move data) the lease had ended, and with it locks of <rmem/objects.h>
 *			that were held: each has to be released before anything is read or written
 */
#ifndef RMEM_RMEM_H
#define RMEM_RMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RMEM_API __attribute__((visibility("default")))

/*
 * A remote address. 0 is null. Arithmetic inside an allocation works as with a pointer. The high 16
 * bits hold a tag, 0x9e, and the server's number, so that no pointer of this process looks like one, with
 * an exception: pointers whose highest byte is a tag that the processor ignores (HWASan on arm64, AMD's
 * UAI), of which one in 256 has this one. The calls accept as remote only what this session has been lent
 * or has attached; a program that keeps both kinds in one word has to mark them itself.
 */
typedef uint64_t rmem_addr_t;

struct rmem_iovec {
	rmem_addr_t base;
	size_t len; /* bytes */
};

struct rmem; /* one session with one server */

#define RMEM_DEFAULT_PORT 7471
#define RMEM_NODE_ANY (-1)

struct rmem_open_attr {
	size_t size;        /* sizeof(struct rmem_open_attr): see RMEM_OPEN_ATTR_INIT */
	const char *device; /* RDMA device to use, e.g. "mlx5_0"; NULL: as the route goes */
	const char *job;    /* label shown in leak reports; NULL: $RMEM_JOB, else $SLURM_JOB_ID */
	int timeout_ms;     /* for connecting and for each control call; 0: 3000 */
	int channels;       /* threads that get a queue pair of their own, at most 32; 0: 8 */
	uint32_t journal;   /* RMEM_JOURNAL_…; 0: $RMEM_JOURNAL ("lazy" or "exact"), else lazy */
	uint32_t flags;     /* RMEM_OPEN_… */
};
#define RMEM_OPEN_ATTR_INIT \
	{ \
		sizeof(struct rmem_open_attr), NULL, NULL, 0, 0, 0, 0 \
	}

/*
 * What the server knows of small allocations when this process dies: which of them it held, from which line, since when.
 *	LAZY	as of the last renewal of the lease, or of a later one: reports say how old it is
 *	EXACT	also of each one that data was written to since, at the cost of one more short write in front of the first
 * How many bytes this process held, and from which line larger allocations are, is exact in either case.
 */
#define RMEM_JOURNAL_LAZY 1u
#define RMEM_JOURNAL_EXACT 2u

/* Small allocations have no call sites, and cost that much less. */
#define RMEM_OPEN_NO_SITES 1u

/*
 * On which of the server's NUMA nodes memory is wanted, in the words of numactl(8). Where a policy's nodes have no room,
 * all but BIND fall back to the others (rmemctl numastat counts that as a miss); with RMEM_POLICY_STRICT, none does.
 */
#define RMEM_POLICY_DEFAULT \
	0u /* any node, the one with most free memory first; if nodes are named: as BIND */
#define RMEM_POLICY_LOCAL \
	1u /* the node to which the RDMA device of the session's connection is attached */
#define RMEM_POLICY_BIND 2u      /* one of the named nodes, and no other */
#define RMEM_POLICY_PREFERRED 3u /* one of the named nodes */
#define RMEM_POLICY_INTERLEAVE \
	4u /* the named nodes in turn, or if none is named all; an allocation is never split */
#define RMEM_POLICY_NEAR 5u      /* the node on which near_addr lies */
#define RMEM_POLICY_BEST 6u      /* the nodes whose memory is best in attribute, or nearly so */
#define RMEM_POLICY_STRICT 0x80u /* with one of these: there, or not at all */

/* What memory can be good for, as the server's firmware tells. */
#define RMEM_MEMORY_CAPACITY 1u
#define RMEM_MEMORY_BANDWIDTH 2u
#define RMEM_MEMORY_LATENCY 3u

struct rmem_alloc_attr {
	size_t size;        /* sizeof(struct rmem_alloc_attr): see RMEM_ALLOC_ATTR_INIT */
	int node;           /* a NUMA node of the server, one more beside nodes; or RMEM_NODE_ANY */
	uint32_t flags;     /* RMEM_ALLOC_…; others are -EINVAL */
	uint32_t policy;    /* RMEM_POLICY_… */
	uint32_t attribute; /* RMEM_MEMORY_…, for BEST; else 0 */
	uint64_t nodes;     /* NUMA nodes of the server, node N being bit 1 << N */
	/* for NEAR: in an allocation of this session, or one that it has attached (near that one's owner); else 0 */
	rmem_addr_t near_addr;
	uint64_t align_bytes; /* a power of 2, at most 4096; 0: the largest that divides bytes */
};
#define RMEM_ALLOC_ATTR_INIT \
	{ \
		sizeof(struct rmem_alloc_attr), RMEM_NODE_ANY, 0, RMEM_POLICY_DEFAULT, 0, 0, 0, 0 \
	}
#define RMEM_ALLOC_ZERO \
	1u /* its bytes are zero, also where this session had something there before */
#define RMEM_ALLOC_ISOLATED \
	2u /* a block of its own, however small: access ends with its bytes, in the NIC too */

/*
 * Open a session. server is "host" or "host:port" (an IPv6 literal in brackets); NULL means
 * $RMEM_SERVER, else (also if that is empty) this machine. attr may be NULL. Blocks for at most timeout_ms,
 * whatever name servers do. A name is looked up here and never again: the session stays with that address.
 *	-EINVAL		also: server is an empty string, or no such text
 *	-ENODEV		no RDMA device here, or not the named one
 *	-EHOSTUNREACH	no RDMA route to the server, or nobody knows its name
 *	-ECONNREFUSED	nobody listens there
 *	-EPROTO		somebody listens, but it is not an rmemd of a version we can talk to
 *	-EUSERS		the server has all the sessions it can keep
 *	-EAGAIN		no thread could be started
 *	-ETIMEDOUT	somebody is there, but does not answer in time; or no name server does
 *	-ECONNRESET	the connection broke before the session was open, or was rejected without a word, as by an
 *			rmemd that is just ending: try again
 *	-ENOMEM		out of memory, or of memory that may be locked
 *	-EMFILE		too many open files
 *	-EPERM		in a child after fork() of a process that had used the library: exec first
 *	-EIO		the RDMA device, or the kernel, refused something else
 */
RMEM_API int rmem_open(const char *server, const struct rmem_open_attr *attr, struct rmem **out);

/*
 * Close a session. NULL is fine. Frees no remote memory: what is still allocated stays, is reported
 * as leaked by a closed session, and is kept until the server reclaims it. No other thread may be
 * inside a call on rm. Blocks until the server has said goodbye, at most timeout_ms. Of that, what queues have
 * outstanding gets a half at most, and is given up then (rmem_queue_destroy() waits for it); names of call sites
 * that are still being looked up get a half of the rest, 3 s at most.
 */
RMEM_API int rmem_close(struct rmem *rm);

/*
 * Allocate bytes of remote memory. attr may be NULL. Memory that this session has not had before is zero; with
 * RMEM_ALLOC_ZERO all is. What other sessions had there is never seen.
 *
 * Up to 16 KiB are cut out of memory that the session has got from the server already, mostly without a round trip, a
 * lock or a system call. Larger ones, and those with RMEM_ALLOC_ISOLATED, a node or a policy, take one round trip; where the pool
 * is full and others have to give something back first, the answer waits for that.
 *	-EINVAL		bytes is 0; the alignment is no power of 2, or more than 4096; a named node lends nothing, or does
 *			not exist on the server; or a field of attr does not fit the policy
 *	-ENODEV		the policy is strict, and the server does not know where that would be (to which node its RDMA
 *			device is attached, how good its nodes' memory is), or that node lends nothing
 *	-EFBIG		bytes is more than one allocation can hold there: it is in one piece, in memory that the server has made
 *			ready at a time (see rmemctl status, and rmem_limits())
 *	-ENOSPC		the pool (or all nodes of it that the policy allows) is full; rmem_errmsg() says how much of it this session holds. Where
 *			it has lost memory (-ESTALE) nothing is lent to it before rmem_free() has been called for that
 *	-EDQUOT		the quota of this session, or of its job, is used up; or the server's ledger is full
 *	-EAGAIN		no thread could be started, which the first small allocation of a session needs
 */
RMEM_API int rmem_alloc(
	struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out);

/*
 * Give an allocation back. addr must be what rmem_alloc() returned, or be attached with a key that RMEM_SHARE_MAY_FREE was set
 * for, which frees it for all; 0 is fine. A small one stays with the session, for
 * its next allocations, which get it when all operations that were on their way have ended; the server gets back what
 * is empty in one piece. A larger one takes one round trip; when that
 * returns 0 no access to the memory is possible any more. After -ETIMEDOUT, -ECONNRESET and -ENOMEM it may still be
 * allocated: repeat the call, or it is leaked. Whether an earlier one arrived makes no difference, and until one has
 * returned 0 or -ESTALE the address is lent to this session for nothing else.
 *	-EINVAL		addr is an interior address, was freed already (rmem_errmsg() says by which session and where, if another may
 *			have done that) or was never allocated; or it is another session's that does not let this one free it
 *	-ESTALE		it was lost already, and is given up now: its address can be lent to this session again
 *	-EIO		the server's device does not confirm that others have no access any more; it is lent to nobody
 */
RMEM_API int rmem_free(struct rmem *rm, rmem_addr_t addr);

/*
 * Allocate count times bytes, as rmem_alloc() would one by one, or none: errors as there. Small ones come out of memory
 * that the session has; larger ones take one round trip each. 0 is fine for count.
 *
 * out, of count elements, is written in any case but -EINVAL, -E2BIG and -EPERM: on failure all 0. But where the server does not
 * answer (-ETIMEDOUT, -ECONNRESET) what could not be given back again, for which the call waits as long once more, is
 * left there: for rmem_free_many(), or it is leaked.
 */
RMEM_API int rmem_alloc_many(struct rmem *rm, size_t bytes, size_t count,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out);

/*
 * Give count allocations back, as rmem_free() would one by one, all within one timeout; addresses of 0 are passed over.
 * What is not this program's any more becomes 0 (in rmem_free()'s words: 0, -ESTALE, -EIO). One that fails does not keep
 * the others: returns the first error, and the same call again tries those that are left. Errors as rmem_free().
 */
RMEM_API int rmem_free_many(struct rmem *rm, rmem_addr_t *addrs, size_t count);

/*
 * Give an allocation another length. *out is where it is then: at addr still, or elsewhere, with what was there, as far as
 * it fits; addr has been freed then. No operation on it may be on its way. attr is as for rmem_alloc(), and what it
 * says counts anew; with RMEM_ALLOC_ZERO what is added is zero, else it may be anything that this session has had
 * there. An addr of 0 is rmem_alloc().
 *
 * A small one stays where it is if its slot is that of the new length too; then it keeps its call site. A larger one
 * stays if it shrinks by less than a page, and keeps its length (rmem_stat()). All others move, and so does each
 * larger one for which a node or a policy is given: the server copies, which takes one round trip, beside those
 * of rmem_alloc() and rmem_free().
 *
 * On failure it is where it was, as it was; after -ETIMEDOUT and -ECONNRESET the memory that it was to move to may stay
 * allocated until the session ends. Errors as rmem_alloc() and rmem_copy(), and:
 *	-EINVAL		also: addr is not what rmem_alloc() returned to this session, or was freed; bytes is 0
 *	-EBUSY		it is shared: rmem_unshare() it first
 */
RMEM_API int rmem_realloc(struct rmem *rm, rmem_addr_t addr, size_t bytes,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out);

/*
 * What is at addr, which may be anywhere inside it. Without asking the server: what an owner, or an operator, has
 * ended meanwhile is not known before a call on it finds out. Later versions add fields at the end.
 *	-EFAULT		nothing of this session's, or attached, is there
 *	-ESTALE		it is gone
 */
#define RMEM_STAT_ATTACHED 1u  /* another session's, which shares it */
#define RMEM_STAT_READ_ONLY 2u /* ... for reading only */
#define RMEM_STAT_SHARED \
	4u /* this session's, and shared by a call of this process; not revoked since */

struct rmem_stat {
	size_t size;           /* sizeof(struct rmem_stat): see RMEM_STAT_INIT */
	rmem_addr_t base;      /* what rmem_alloc() returned */
	uint64_t bytes;        /* asked for */
	uint64_t usable_bytes; /* that may be used, from base on */
	uint64_t age_ns;       /* since it was allocated; of a small one, to the second */
	uint64_t serial;       /* "id" in reports of rmemctl; small ones share their slab's */
	uint32_t node;         /* NUMA node of the server */
	uint32_t flags;        /* RMEM_STAT_ATTACHED … */
};
#define RMEM_STAT_INIT \
	{ \
		sizeof(struct rmem_stat), 0, 0, 0, 0, 0, 0, 0 \
	}

/* out->size must be set. */
RMEM_API int rmem_stat(struct rmem *rm, rmem_addr_t addr, struct rmem_stat *out);

/* What there can be, as the server has said when this session was last connected. Later versions add fields at the end. */
#define RMEM_LIMITS_ATOMICS 1u /* both machines' RDMA devices have atomic operations */

struct rmem_limits {
	size_t size; /* sizeof(struct rmem_limits): see RMEM_LIMITS_INIT */
	uint64_t
		alloc_bytes; /* the largest allocation that an empty pool could serve, when the session connected */
	uint64_t
		object_bytes; /* up to here an allocation shares its pages with others of this session */
	uint64_t
		request_bytes; /* that a copy sends in one request to the device; longer ones are several */
	uint32_t pieces;       /* in each list of rmem_readv() and its like */
	uint32_t queue_depth;  /* the largest of rmem_queue_create() */
	uint32_t channels;     /* connections for threads, of this session */
	uint32_t all_channels; /* connections for threads and queues that a session can have */
	uint32_t
		windows; /* keys that the server's device has, for all sessions together; 0: unknown */
	uint32_t flags; /* RMEM_LIMITS_ATOMICS */
};
#define RMEM_LIMITS_INIT \
	{ \
		sizeof(struct rmem_limits), 0, 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/* out->size must be set. */
RMEM_API int rmem_limits(struct rmem *rm, struct rmem_limits *out);

/*
 * Share an allocation: each session of the same server that has its address and this key may read and write all
 * of it. The key is good until rmem_unshare(), and at most for as long as the allocation lives. One round trip.
 *
 * The allocation stays this session's: when it frees it, or its memory is reclaimed, the access of all others
 * ends first (-ESTALE to them). With this key no other session can free it; see RMEM_SHARE_MAY_FREE. If its process dies, it is this
 * process's leak, even if others still use it.
 *	-EINVAL		addr is not what rmem_alloc() returned to this session, or was freed
 */
struct rmem_share_key {
	uint8_t bytes[64];
};
RMEM_API int rmem_share(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out);

/*
 * Share it as attr says; attr may be NULL, then it is rmem_share(). Keys of all kinds may be good at the same time.
 *	READ_ONLY	this key admits to reading only: the server's RDMA device refuses writes and atomic operations, and
 *			the library does so before (-EACCES)
 *	MAY_FREE	this key admits to reading, writing and freeing: rmem_free() of a session that has attached it with this key
 *			frees it for all. Of several sessions that free it, this one too, one succeeds (rmem_free()). Two
 *			round trips more for a small allocation. With the exact journal that waits for operations that are on their
 *			way, those of queues too, which only rmem_reap() ends
 *
 * Errors as rmem_share(), and:
 *	-EINVAL		both flags
 *	-ETIMEDOUT	also: MAY_FREE of a small one, with the exact journal: operations on their way have not ended
 *	-EOPNOTSUPP	READ_ONLY: the server's RDMA device does not refuse writes with such a key
 */
#define RMEM_SHARE_READ_ONLY 1u
#define RMEM_SHARE_MAY_FREE 2u

struct rmem_share_attr {
	size_t size;       /* sizeof(struct rmem_share_attr): see RMEM_SHARE_ATTR_INIT */
	uint32_t flags;    /* RMEM_SHARE_READ_ONLY or RMEM_SHARE_MAY_FREE */
	uint32_t reserved; /* 0 */
};
#define RMEM_SHARE_ATTR_INIT \
	{ \
		sizeof(struct rmem_share_attr), 0, 0 \
	}
RMEM_API int rmem_share_with(struct rmem *rm, rmem_addr_t addr, const struct rmem_share_attr *attr,
	struct rmem_share_key *out);

/*
 * Revoke all keys to an allocation that were given out so far, of all kinds; 0 is fine. When it returns 0 the server's
 * RDMA device has confirmed that no other session has access any more (-ESTALE to them). The memory stays, with what
 * others have written; sharing it again gives another key. One round trip. After any other error but -EINVAL the keys
 * may be good or not: repeat the call. Of a small one, with the exact journal, it waits for operations that are on their way, those
 * of queues too, which only rmem_reap() ends: else -ETIMEDOUT.
 *	-EINVAL		addr is not what rmem_alloc() returned to this session, or was freed
 *	-EDQUOT		it was done 65535 times for this allocation; its keys stay good
 *	-EIO		the keys are void, but the server's RDMA device does not confirm that others have no access
 */
RMEM_API int rmem_unshare(struct rmem *rm, rmem_addr_t addr);

/*
 * Use an allocation that another session shares, by its address, with all calls that move data. *out_bytes
 * (NULL is fine) is its size. It stays attached when the connection breaks, when this session's lease
 * ends and when the server is restarted, until rmem_detach() or its end. One round trip.
 *	-EACCES		the key does not fit what is at addr there, if anything is
 *	-EXDEV		the key is for memory of another pool: this session is with the wrong server, or all that was
 *			lent there is gone
 *	-EEXIST		it is attached already; or this session has lost something there, and must free or detach that first
 *	-EINVAL		addr is not a remote address, or this session's own allocation; or the bytes are no key, or
 *			one that a later version has made
 */
RMEM_API int rmem_attach(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes);

/*
 * Give an allocation to another session: rmem_offer() gets a key, and the session that calls rmem_accept() with it and the
 * address is the owner from then on, with all that an owner may do; it counts as allocated by that session, at the same call
 * site as before. At each instant it is one session's, and stays that, or becomes the other's, also when either is killed or the
 * server is restarted. Its bytes stay as they are; its number is another. One round trip each.
 *
 * When rmem_offer() has returned 0, no session reaches the memory, this one neither, and all share keys are void. Until the offer
 * is accepted it is this session's: its leak if it ends. rmem_unshare() takes the offer back: 0: it is usable here as before;
 * -ESTALE: it was accepted. So does rmem_free(), which frees it, or says -ESTALE. One of them must be called for it in
 * any case before this session can be lent the address again. After an error other than -EINVAL it may be offered or not:
 * take it back.
 *
 * *out_bytes (NULL is fine) is its size. After -ETIMEDOUT and -ECONNRESET of rmem_accept() it may be this session's: repeat the call,
 * or it is leaked.
 *	-EINVAL		offer: addr is not what rmem_alloc() returned to this session, or was freed; or it is a small one, which lies
 *			in a slab: RMEM_ALLOC_ISOLATED makes it one that can be offered. Accept: as rmem_attach()
 *	-EACCES		accept: the key does not fit; it was accepted already or taken back, or is gone
 *	-EBUSY		accept: its owner has taken it back without saying so, and uses it
 *	-EEXIST		accept: this session has something there, or has lost it and must free or detach it first
 *	-EXDEV		accept: as rmem_attach()
 *	-EDQUOT		the server's ledger is full, or a quota of who accepts is used up; or it was offered or revoked 65535 times
 *	-EIO		offer: as rmem_unshare()
 */
RMEM_API int rmem_offer(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out);
RMEM_API int rmem_accept(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes);

/*
 * Stop using an allocation that another session shares; 0 is fine. When it returns 0 this session has no
 * access to the memory any more. After any other error it is not used either, and the call can be
 * repeated. One round trip.
 *	-EINVAL		nothing is attached at addr, or it is this session's own
 *	-EIO		the server's RDMA device does not confirm that this session's access is over
 */
RMEM_API int rmem_detach(struct rmem *rm, rmem_addr_t addr);

/*
 * Copy between local and remote memory. Blocks until the bytes have arrived, however many there are, unless
 * nothing arrives for 10 s: then the connection is given up, and a new one made. After a failure the destination
 * may be partly written. 0 bytes is fine. The server's CPU takes no part.
 *	-EACCES		(rmem_write(), and calls that are like it) the allocation is attached with a key for reading only
 *	-EFAULT		the remote range is not wholly inside one allocation that is this session's, or
 *			attached; or AddressSanitizer forbids the local one. Nothing was sent,
 *			unless the allocation was freed, or detached, meanwhile. Or part of more than 64 KiB
 *			of local memory, in no registered buffer, is not mapped; what is before that
 *			may have been sent. (Other local memory that cannot be accessed ends the
 *			process, as with memcpy().)
 *	-EDQUOT		at the first touch: the server's device has no windows left for a key, or the session's quota of them
 *			is used up
 *	-EUSERS		at a thread's first copy: the server keeps no more connections
 *	-EMFILE		at a thread's first copy: too many open files
 */
RMEM_API int rmem_read(struct rmem *rm, void *dst, rmem_addr_t src, size_t bytes);
RMEM_API int rmem_write(struct rmem *rm, rmem_addr_t dst, const void *src, size_t bytes);

/*
 * Copy between remote ranges, and fill one with a byte. The server's CPU does it, so that the bytes do not travel. Blocks
 * until it is done: one round trip, and some 0.1 to 1 s for each GiB; other calls of this session that ask the
 * server wait meanwhile. 0 bytes are fine.
 *
 * It sees what was written before by operations that had completed (or were reaped) when it was called, and those
 * that begin after it has returned see what it has done. Against operations on their way at the same time, of this or another
 * session, it is neither ordered nor atomic: they see bytes from before and after, in any mixture.
 *
 * After a failure the destination may be partly written. After -ETIMEDOUT and -ECONNRESET the server may still be
 * at it, until the next call of this session that asks the server (rmem_alloc(), say) has returned 0.
 *	-EFAULT		a range is not wholly inside one allocation that is this session's, or attached. Nothing was done
 *	-EINVAL		the two ranges overlap
 *	-EACCES		dst is attached with a key for reading only
 *	-EOWNERDEAD	as calls that move data
 */
RMEM_API int rmem_copy(struct rmem *rm, rmem_addr_t dst, rmem_addr_t src, size_t bytes);
RMEM_API int rmem_fill(struct rmem *rm, rmem_addr_t dst, uint8_t byte, size_t bytes);

/*
 * Scatter-gather: like process_vm_readv(2), both lists are taken as one run of bytes and must have
 * the same total length (-EINVAL), in at most 1024 pieces each (-EINVAL). Each remote piece must be
 * inside one allocation (-EFAULT); everything is checked before anything is sent. If local pieces
 * overlap in a read, or remote pieces in a write, which bytes win is undefined.
 */
RMEM_API int rmem_readv(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote);
RMEM_API int rmem_writev(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote);

/*
 * Registered local buffers: what is copied from or to memory that is wholly inside one of them goes in
 * place, without a copy, whatever its length (but a write that is short enough for the device goes inside
 * the request); several pieces of one remote run go in one request. (A
 * piece that is not is copied through memory of the library, or, if longer than 64 KiB, registered for the
 * call.) They belong to the session, survive broken connections, and count against the limit on
 * locked memory. rmem_close() releases what is left.
 *
 * rmem_buf_alloc() gets page-aligned, zeroed memory and registers it. rmem_buf_register() registers
 * memory of the caller, which must be writable, and must stay mapped until it is released.
 * rmem_buf_release() undoes either; what rmem_buf_alloc() got is then unmapped. NULL is fine. The caller must not
 * release what another thread is copying from or to: nothing here waits for that.
 *
 * Registering takes time in proportion to the size; copies and other calls go on meanwhile.
 *	-EINVAL		0 bytes, NULL (not for release), not mapped or not writable, it overlaps a buffer that is
 *			registered already; release: no registered buffer starts there
 *	-ENOMEM		too much for this process or for its limit on locked memory, or for the device
 *			at once (soft-RoCE: 1 GiB), which takes it in parts that are neighbours;
 *			rmem_errmsg() tells these two apart
 */
RMEM_API int rmem_buf_alloc(struct rmem *rm, size_t bytes, void **out);
RMEM_API int rmem_buf_register(struct rmem *rm, void *addr, size_t bytes);
RMEM_API int rmem_buf_release(struct rmem *rm, void *addr);

/*
 * 64-bit atomic operations on remote memory, done by the server's RDMA device: add, and store desired
 * if what is there is expected. *old (NULL is fine) is what was there before; the swap was done if it
 * is expected. Words are in the byte order of the machine that wrote them: all that share one must
 * have the same.
 *
 * They are atomic among these two calls only, on one server and device: not against rmem_write(),
 * which may tear, and not against the server's CPU.
 *
 * An operation is never repeated that may have been carried out.
 *	-EINVAL		addr is not a multiple of 8
 *	-EFAULT		the 8 bytes are not inside one allocation that is this session's, or attached
 *	-EACCES		the allocation is attached with a key for reading only
 *	-EOPNOTSUPP	this machine's RDMA device, or the server's, has no atomic operations
 *	-EREMOTEIO	the connection broke meanwhile: it may or may not have been carried out. (After
 *			any other error it was not.)
 */
RMEM_API int rmem_fetch_add(struct rmem *rm, rmem_addr_t addr, uint64_t add, uint64_t *old);
RMEM_API int rmem_compare_swap(
	struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired, uint64_t *old);

/*
 * A queue of operations that are carried out while the caller does something else: start many, then
 * reap what has completed, each with the tag it was started with. A queue has a connection of its own.
 *
 * Threads: one at a time; different queues at once, beside all other calls. rmem_close() destroys what is
 * left.
 *
 * Started operations are handed to the device together, by rmem_submit(), rmem_reap() or when there are
 * many. None can be taken back. Until one has been reaped, its local memory, its lists of pieces and
 * *old belong to the library.
 *
 * Order: a read sees what writes started before it on the same queue have written, and writes take effect
 * in the order they were started. Nothing else is ordered: what is started after a read or an atomic
 * operation may be done before it, unless rmem_fence() stands between; and two queues, or a queue and the
 * calls that wait, are ordered only by reaping the one before starting the other. Operations are reaped in
 * the order they were started.
 *
 * When the connection breaks, rmem_reap() makes a new one and repeats, in order, the reads and writes
 * that have not completed (a write may then be done twice). An atomic operation that may have been
 * carried out is never repeated: it completes with -EREMOTEIO.
 */
struct rmem_queue;

struct rmem_queue_attr {
	size_t size;    /* sizeof(struct rmem_queue_attr): see RMEM_QUEUE_ATTR_INIT */
	unsigned depth; /* operations started and not reaped, at most 65536; 0: 128 */
	uint32_t flags; /* RMEM_QUEUE_… */
};
#define RMEM_QUEUE_WATCHED 1u       /* rmem_queues_fd() covers it */
#define RMEM_QUEUE_INTERRUPTIBLE 2u /* rmem_reap() may return -EINTR */
#define RMEM_QUEUE_ATTR_INIT \
	{ \
		sizeof(struct rmem_queue_attr), 0, 0 \
	}

/*
 * attr may be NULL. Connects: blocks for at most the session's timeout.
 *	-EUSERS		too many queues
 *	-EMFILE		too many open files
 */
RMEM_API int rmem_queue_create(
	struct rmem *rm, const struct rmem_queue_attr *attr, struct rmem_queue **out);

/* Finishes the operations that were started (which may take as long as in rmem_reap()). NULL is fine. */
RMEM_API void rmem_queue_destroy(struct rmem_queue *q);

/*
 * Start an operation. It is checked first, as by the call of the same name that waits: an error means that
 * nothing was started. The first use of an allocation on a queue asks the server for a key, which
 * takes a round trip.
 *	-EAGAIN		depth operations have been started and not reaped
 */
RMEM_API int rmem_start_read(
	struct rmem_queue *q, void *dst, rmem_addr_t src, size_t bytes, uint64_t tag);
RMEM_API int rmem_start_write(
	struct rmem_queue *q, rmem_addr_t dst, const void *src, size_t bytes, uint64_t tag);
RMEM_API int rmem_start_readv(struct rmem_queue *q, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, uint64_t tag);
RMEM_API int rmem_start_writev(struct rmem_queue *q, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, uint64_t tag);
RMEM_API int rmem_start_fetch_add(
	struct rmem_queue *q, rmem_addr_t addr, uint64_t add, uint64_t *old, uint64_t tag);
RMEM_API int rmem_start_compare_swap(struct rmem_queue *q, rmem_addr_t addr, uint64_t expected,
	uint64_t desired, uint64_t *old, uint64_t tag);

/*
 * Start rmem_alloc(), rmem_free() or rmem_attach() on a queue: the completion's status is what the call would have returned,
 * and its result the address, 0, or the size. attr and key are copied. What takes no round trip is done at once; the rest is
 * sent by a thread of the session, one after the other in the order in which all queues have started them, each within
 * the session's timeout from its start.
 *
 * They are reaped in the order of the queue, but carried out beside its operations. A call does not wait for the queue's
 * operations, nor they for it; rmem_fence() concerns operations only. So reap the operations that use an allocation before its
 * free is started. A call that has failed stops none of those behind it.
 *
 * What is allocated or attached is the program's when it has been reaped. If the queue, or the session, ends before
 * that, the library gives it back while no other call waits (to attach the same before that: -EEXIST); frees are still carried
 * out. rmem_close() waits for that as it does for operations of queues. Memory that is not given back by then stays allocated,
 * as all memory that the program has not freed before rmem_close().
 *	-EINVAL		alloc: a mistake in bytes or attr; attach: the key is none. (Mistakes in addr come with the completion.)
 *	-EAGAIN		depth operations have been started and not reaped. (That no thread could be started comes with the
 *			completion.)
 *	-EMFILE		too many open files
 */
RMEM_API int rmem_start_alloc(
	struct rmem_queue *q, size_t bytes, const struct rmem_alloc_attr *attr, uint64_t tag);
RMEM_API int rmem_start_free(struct rmem_queue *q, rmem_addr_t addr, uint64_t tag);
RMEM_API int rmem_start_attach(
	struct rmem_queue *q, rmem_addr_t addr, const struct rmem_share_key *key, uint64_t tag);

/*
 * What is started next waits, in the device, until the reads and atomic operations before it have
 * completed. It costs the round trip that it waits, and nothing else.
 */
RMEM_API int rmem_fence(struct rmem_queue *q);

/*
 * A copy or atomic operation with all that can be said about it: one struct for every kind, which rmem_start() starts on a queue, and
 * rmem_run() carries out while it waits. What a kind does not need is not looked at.
 */
#define RMEM_OP_READ 1u
#define RMEM_OP_WRITE 2u
#define RMEM_OP_FETCH_ADD 3u
#define RMEM_OP_COMPARE_SWAP 4u

/*
 *	SILENT	it has no completion unless it fails (queues only)
 *	FENCED	as if rmem_fence() had been called before (queues only)
 *	ONCE	it is never repeated after it may have been carried out, as atomic operations never are: if the connection
 *		breaks then, -EREMOTEIO
 */
#define RMEM_OP_SILENT 1u
#define RMEM_OP_FENCED 2u
#define RMEM_OP_ONCE 4u

struct rmem_op {
	size_t size;    /* sizeof(struct rmem_op): see RMEM_OP_INIT */
	uint32_t kind;  /* RMEM_OP_READ … */
	uint32_t flags; /* RMEM_OP_SILENT … */
	uint64_t tag;   /* of its completion */
	/* Reads and writes: as for rmem_readv(). One piece that fits one piece is copied, and need not stay. */
	const struct iovec *local;
	const struct rmem_iovec *remote;
	int nlocal, nremote;
	/* Atomic operations: as for rmem_fetch_add() and rmem_compare_swap(). */
	rmem_addr_t addr;
	uint64_t operand; /* what is added, or expected */
	uint64_t desired;
	uint64_t *old;
	int timeout_ms;    /* its time, from its start; 0: no limit */
	uint32_t reserved; /* 0 */
};
#define RMEM_OP_INIT \
	{ \
		sizeof(struct rmem_op), 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL, 0, 0 \
	}

/*
 * Start it: as the calls above. A silent one that has completed makes room by itself.
 *
 * An operation whose time is over before it has completed fails with -ETIMEDOUT; its local memory is the program's
 * again when that has been reaped. If it was on its way, its connection is broken for that, and what else was on
 * the queue is repeated on another: a time-out is for what has gone wrong, not for pacing. One that is sent once,
 * and may have been carried out, fails with -EREMOTEIO instead. Only rmem_reap() looks at the time (the descriptor
 * is readable when it is over); and as operations complete in order, one that stands behind others waits for those:
 * give them a time as well. A first touch, which asks the server for a key, keeps within it; making a connection
 * for a queue on which others wait keeps within the session's time-out.
 */
RMEM_API int rmem_start(struct rmem_queue *q, const struct rmem_op *op);

/* Carry it out, and wait for it, within its time: as rmem_readv() and its like. Its tag is not looked at. */
RMEM_API int rmem_run(struct rmem *rm, const struct rmem_op *op);

/* Hand what was started to the device now. */
RMEM_API int rmem_submit(struct rmem_queue *q);

struct rmem_completion {
	uint64_t tag;
	int32_t status; /* 0, or what the call that waits would have returned */
	uint32_t flags; /* for rmem_completion_errmsg() */
	/* status 0: bytes copied, what an atomic operation found, the address or size of rmem_start_alloc() and its like; else 0 */
	uint64_t result;
};

/*
 * Take up to max completions, and return how many. With none, wait until there is one: at most timeout_ms; 0: do
 * not wait; negative: as long as it takes. 0 also when nothing is outstanding. For the last that has failed,
 * rmem_errmsg() tells why (or, if that is gone, what the queue ran into last); for each, rmem_completion_errmsg().
 * Coming back after the connection broke takes at most the session's timeout, whatever timeout_ms says. A
 * connection on which nothing completes for 10 s (or 15 s, where nobody waits for that long) is given up.
 *	-EINVAL		max is less than 1, or q or out is NULL
 *	-EINTR		the queue is interruptible, nothing has completed, and a signal handler ran while this slept (one that
 *			ran just before is not noticed: block the signal, and use the descriptor with ppoll(2))
 */
RMEM_API int rmem_reap(struct rmem_queue *q, struct rmem_completion *out, int max, int timeout_ms);

/*
 * Why this operation of the queue has failed, in one sentence without a newline; "" if it has not. Never NULL.
 * Valid until the next call on the queue. The queue keeps as many sentences as its depth is, rounded up to a power
 * of 2, at most 128, and each once for all that failed for it, as when a connection breaks: of a completion whose
 * sentence is gone there is only what its errno means. Which sentence it is stands in the upper 24 bits of flags;
 * the others are 0 in this version, and may become flags.
 */
RMEM_API const char *rmem_completion_errmsg(
	const struct rmem_queue *q, const struct rmem_completion *completion);

/*
 * Returns a descriptor for poll(2), epoll(7), or an event loop: readable when there may be something to reap.
 * Then call rmem_reap() with timeout_ms 0 until it returns 0. The queue's, until it is destroyed. Ask for
 * it before starting anything; a queue whose descriptor was never asked for saves the system calls. While
 * something is outstanding it is readable every 5 s at least, so that a dead connection is noticed.
 */
RMEM_API int rmem_queue_fd(struct rmem_queue *q);

/*
 * One descriptor for all queues of a session that were created with RMEM_QUEUE_WATCHED, now and later: readable
 * when there may be something to reap on any of them. rmem_queues_ready() tells on which: up to max (and 64) of
 * them, and how many; 0: on none. It does not wait. Reap those until rmem_reap() returns 0. Any thread; but the
 * queues stay one thread's at a time, and must not be destroyed meanwhile. The session's: do not close it.
 */
RMEM_API int rmem_queues_fd(struct rmem *rm);
RMEM_API int rmem_queues_ready(struct rmem *rm, struct rmem_queue **out, int max);

/*
 * How the session's data travelled, since rmem_open(): work requests, and the bytes in them. What was
 * repeated after a broken connection counts again. Later versions add fields at the end.
 */
struct rmem_stats {
	size_t size;                /* sizeof(struct rmem_stats): see RMEM_STATS_INIT */
	uint64_t in_place_requests; /* from or to registered buffers, without a copy */
	uint64_t in_place_bytes;
	uint64_t inline_requests; /* writes so short that the request itself carries them */
	uint64_t inline_bytes;
	uint64_t slot_requests; /* copied through memory of the library */
	uint64_t slot_bytes;
	/* without a copy, from or to memory registered for the call */
	uint64_t registered_requests;
	uint64_t registered_bytes;
	uint64_t registrations; /* made for those */
	uint64_t doorbells;     /* lists of requests, of any kind, handed to the device */
	uint64_t atomics;       /* sent */
};
#define RMEM_STATS_INIT \
	{ \
		sizeof(struct rmem_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/* out->size must be set. */
RMEM_API int rmem_stats(struct rmem *rm, struct rmem_stats *out);

/*
 * What the last failed call of this thread ran into, in one sentence without a newline. Never NULL;
 * "" before the first failure. Valid until this thread's next rmem call.
 */
RMEM_API const char *rmem_errmsg(void);

/*
 * What happens to a session, for a program that wants to know without asking by a call that moves data: kept from
 * rmem_open() on, until it is taken. A program that never asks is told by its calls, and misses nothing.
 */
enum rmem_event_kind {
	/* LATE, EXPIRED and GONE are over: there is a connection, and the lease is good. Not told of the first one. */
	RMEM_EVENT_CONNECTED = 1,
	/* Half of the lease is over without the server having heard from this process, which may have been stopped. */
	RMEM_EVENT_LATE,
	/* The lease may be over: the memory may be lent to others. Calls find out, and never touch theirs. */
	RMEM_EVENT_EXPIRED,
	/* The connection broke, and could not be made again at once. It is tried again and again. */
	RMEM_EVENT_GONE,
	/* The allocation at addr is gone, as a call on it has found (-ESTALE): freed by its owner, or reclaimed. */
	RMEM_EVENT_REVOKED,
	/* The server has reclaimed the session: all its own allocations are gone (-ESTALE). */
	RMEM_EVENT_RECLAIMED
};

struct rmem_event {
	size_t size;      /* sizeof(struct rmem_event): see RMEM_EVENT_INIT */
	uint32_t kind;    /* enum rmem_event_kind; ignore what is none: later versions add some */
	uint32_t lost;    /* events before this one that were dropped */
	uint64_t time_ns; /* when it was noticed, of CLOCK_BOOTTIME */
	uint64_t serial;  /* REVOKED: the allocation's number, "id" in reports of rmemctl; else 0 */
	rmem_addr_t addr; /* REVOKED: where it began; else 0 */
};
#define RMEM_EVENT_INIT \
	{ \
		sizeof(struct rmem_event), 0, 0, 0, 0, 0 \
	}

/*
 * Take the oldest event: returns 1, or 0 if there is none. Never waits; any thread. out->size must be set. There is
 * room for 64: where a program is slower than that, the oldest are dropped. Events are told in order and mostly at
 * once; LATE and EXPIRED later, by the session's timeout at most, while another connection is being tried.
 */
RMEM_API int rmem_next_event(struct rmem *rm, struct rmem_event *out);

/*
 * Returns a descriptor for poll(2), epoll(7), or an event loop: readable while there is an event to take. It must not
 * be read. The session's, until rmem_close(), which closes it.
 *	-EMFILE		too many open files
 */
RMEM_API int rmem_event_fd(struct rmem *rm);

/*
 * The library's log, for the program, beside what $RMEM_LOG writes to stderr: every failed call, every broken
 * connection and what is done about it (RMEM_LOG_INFO), every connection made (RMEM_LOG_DEBUG). fn gets each line,
 * without a newline, and user. For the whole process; the last call counts, and fn NULL ends it.
 *
 * fn is called in a thread of the library, which there is as long as there is a function, one line at a time, with
 * all signals blocked and without any lock of the library: it may call what it likes of it, this too, and may take
 * its time; lines that there is no room for meanwhile (64) are dropped, and their number said. It must return (no
 * longjmp(), exception or pthread_exit()), must not keep text, and must not count on order against what other
 * threads do: a line comes soon after what it tells about. What it logs by calls of its own that fail comes to it
 * in turn. In a child after fork() it is not called.
 *
 * The function before gets what was logged until now, and is not called any more when this has returned: it may be
 * unloaded. That is waited for, unless it is that function which calls.
 *	-EINVAL		there is no such level
 *	-ETIMEDOUT	fn is set, but the function before has not returned for 3 s; it is not called again
 *	-EAGAIN		no thread could be started
 *	-EPERM		in a child after fork() of a process that had used the library
 */
enum rmem_log_level { RMEM_LOG_ERROR = 1, RMEM_LOG_WARN, RMEM_LOG_INFO, RMEM_LOG_DEBUG };
typedef void rmem_log_fn(void *user, int level, const char *text);
RMEM_API int rmem_set_log(int level, rmem_log_fn *fn, void *user);

/*
 * The name of an error that a call has returned: "ESTALE" for -ESTALE; "OK" for 0 and greater values,
 * which are no errors; "unknown error" for what is not an errno value. Never NULL, a constant.
 */
RMEM_API const char *rmem_err_name(int rc);

/*
 * The version of this header, and of the library that runs, e.g. "0.2.0". A library runs programs that were built with
 * the headers of all its versions that have the same soname, up to its own.
 */
#define RMEM_VERSION_MAJOR 0
#define RMEM_VERSION_MINOR 2
#define RMEM_VERSION_PATCH 0
#define RMEM_VERSION_NUMBER \
	(RMEM_VERSION_MAJOR * 65536U + RMEM_VERSION_MINOR * 256U + RMEM_VERSION_PATCH)
RMEM_API const char *rmem_version(void);

/*
 * Can the library run a program that was built with this version of the header? Pass RMEM_VERSION_NUMBER. The last
 * number does not matter. Needs no session.
 *	-ENOSYS		no: the header is newer, or of another major version; rmem_errmsg() has both versions
 */
RMEM_API int rmem_version_check(uint32_t header);

#ifdef __cplusplus
}
#endif
#endif
