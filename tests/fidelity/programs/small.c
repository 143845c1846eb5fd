/* A static binary without a libc: exactly the calls below. Built with -m32 for the 32-bit row. */
#if defined(__i386__)
enum { EXIT = 1, FORK = 2, WRITE = 4, GETPID = 20, WAITPID = 7 };
static long call(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}
static long wait_for(long pid) { return call(WAITPID, pid, 0, 0); }
#else
enum { EXIT = 60, FORK = 57, WRITE = 1, GETPID = 39, WAIT4 = 61 };
static long call(long number, long a, long b, long c)
{
	long result;
	register long d __asm__("r10") = 0;
	__asm__ volatile("syscall"
			 : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d) : "rcx", "r11", "memory");
	return result;
}
static long wait_for(long pid) { return call(WAIT4, pid, 0, 0); }
#endif

void _start(void)
{
	long child = call(FORK, 0, 0, 0);

	call(GETPID, 0, 0, 0);
	if (child > 0)
		wait_for(child);
	call(WRITE, 1, (long)(child > 0 ? "parent\n" : "child\n"), child > 0 ? 7 : 6);
	call(EXIT, 0, 0, 0);
}
