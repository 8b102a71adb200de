/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_admin SOCKET [LINE]: something that is not rmemd listens on its admin socket. Says "ready" on
 * stdout, then gives each caller LINE as soon as it has asked, and hangs up; without LINE it never
 * answers. Until it is killed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	char request[4096];

	if (argc < 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 8))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (read(fd, request, sizeof(request)) > 0 && argc > 2)
			(void)!write(fd, argv[2], strlen(argv[2]));
		if (argc > 2)
			close(fd);
	}
	return 1;
}
