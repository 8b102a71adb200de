/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the stack of a thread of this process ends, while the thread is in a system call, from /proc/self/task/TID/syscall.
 * Without a signal and without ptrace. It is true for as long as the thread stays in that call.
 */
#ifndef RMEM_CLIENT_SCAN_STACK_POINTER_H
#define RMEM_CLIENT_SCAN_STACK_POINTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What a function may use below it without moving it (x86-64; elsewhere less). */
#define STACK_RED_ZONE 128

/* 0, -EAGAIN: it runs; else what open() or read() says, -EPROTO: not in a form that is known. Any thread. */
int stack_pointer_read(pid_t tid, uint64_t *sp);

/* The text of that file. 0, -EAGAIN or -EPROTO. Pure. */
int stack_pointer_parse(const char *text, uint64_t *sp);

#endif
