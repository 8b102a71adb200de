/* SPDX-License-Identifier: BSD-3-Clause */
/* What befalls the processes of one host, by chance: one event after the other, several at work at a time. */
#ifndef RMEM_TESTS_TORTURE_CHAOS_H
#define RMEM_TESTS_TORTURE_CHAOS_H

/* torture chaos OPTION...: see README.md. Exit status: 0 as it should be, 1 not, 2 usage. */
int chaos_main(int argc, char **argv);

#endif
