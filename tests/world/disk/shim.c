/* A disk that fails: loaded into a process, it counts the calls that change what lies below a folder, and lets one of them, or
 * all from there on, fail.
 *
 * Which is said in a file of four numbers that the test writes and reads meanwhile (DISK_CONTROL); the folder is DISK_FOLDER. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    int64_t fails_in; /* this many calls from now; 0: never */
    int64_t error;    /* with this errno */
    int64_t lasts;    /* whether all calls after it fail, too */
    int64_t failed;   /* how many have failed */
    int64_t calls;    /* how many there were */
};

static struct control *control;
static const char *folder;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_CONTROL");
    folder = getenv("DISK_FOLDER");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 || !folder) return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) control = at;
}

/* Whether this call is to fail; errno says how. */
static int fails(void) {
    __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
    int64_t before = __atomic_load_n(&control->fails_in, __ATOMIC_SEQ_CST);
    if (before == 0) return 0;
    if (before > 1 || !control->lasts) before = __atomic_fetch_sub(&control->fails_in, 1, __ATOMIC_SEQ_CST);
    if (before != 1) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)control->error;
    return 1;
}

static int below(const char *path) {
    return control && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int on_it(int fd) {
    char link[64], path[4096];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                      \
    int name(const char *path, int flags, ...) {                                        \
        va_list rest;                                                                   \
        va_start(rest, flags);                                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;         \
        va_end(rest);                                                                   \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR) && below(path) && fails()) return -1; \
        return NEXT(name)(path, flags, mode);                                           \
    }
OPEN(open)
OPEN(open64)

#define ON_FD(type, name, parameters, arguments)   \
    type name parameters {                         \
        if (on_it(fd) && fails()) return -1;       \
        return NEXT(name) arguments;               \
    }
ON_FD(ssize_t, write, (int fd, const void *data, size_t length), (fd, data, length))
ON_FD(ssize_t, writev, (int fd, const struct iovec *data, int count), (fd, data, count))
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t length, off64_t at), (fd, data, length, at))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ON_FD(int, ftruncate64, (int fd, off64_t length), (fd, length))

#define ON_PATH(name, parameters, arguments)       \
    int name parameters {                          \
        if (below(path) && fails()) return -1;     \
        return NEXT(name) arguments;               \
    }
ON_PATH(rename, (const char *path, const char *to), (path, to))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    if (on_it(to) && fails()) return -1;
    return NEXT(copy_file_range)(from, from_at, to, to_at, length, flags);
}
