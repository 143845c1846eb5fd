/* SPDX-License-Identifier: Apache-2.0 */
/* Makes COUNT calls of getppid and prints the CPU nanoseconds of one. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 1000000;
	double start = cpu_ns();

	for (long i = 0; i < calls; i++)
		syscall(SYS_getppid);
	printf("%.2f\n", (cpu_ns() - start) / calls);
	return 0;
}
