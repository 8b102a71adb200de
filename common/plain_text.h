/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text of a peer, as it may go into a message for another: control characters, also those of two bytes (U+0080 to U+009F), and
 * bytes that are not UTF-8 become '?' each. Of a character that was cut off at the end, so does each byte. Pure.
 */
#ifndef RMEM_COMMON_PLAIN_TEXT_H
#define RMEM_COMMON_PLAIN_TEXT_H

void plain_text(char *text);

#endif
