// Stands between a program and the C library, and for files below a folder writes down every operation that changes
// them, or lets one fail; built and loaded (LD_PRELOAD) by the tests.
//
// MMGEN_SHIM_ROOT   the folder
// MMGEN_SHIM_LOG    where operations are written: a line "NAME INODE OFFSET LENGTH PATH OTHER", then LENGTH bytes
// MMGEN_SHIM_FAIL   the number of the first operation that fails, from 1; those behind it fail too, as on a full disk
// MMGEN_SHIM_ERROR  its error number

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static int log_file = -1;
static long failing = 0, failure = ENOSPC, count = 0;

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("MMGEN_SHIM_ROOT"), *log = getenv("MMGEN_SHIM_LOG");
    if (folder) snprintf(root, sizeof root, "%s", folder);
    if (log) log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (getenv("MMGEN_SHIM_FAIL")) failing = atol(getenv("MMGEN_SHIM_FAIL"));
    if (getenv("MMGEN_SHIM_ERROR")) failure = atol(getenv("MMGEN_SHIM_ERROR"));
}

// The path inside the root, or NULL for one outside.
static const char *inside(int folder, const char *path, char *whole) {
    if (!root[0] || !path) return NULL;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else {
        char base[PATH_MAX - 300];
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return NULL;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0) return NULL;
            base[n] = 0;
        }
        snprintf(whole, PATH_MAX, "%s/%s", base, path);
    }
    size_t n = strlen(root);
    return strncmp(whole, root, n) == 0 && whole[n] == '/' ? whole + n + 1 : NULL;
}

// The path of an open file inside the root, and what it is.
static const char *opened(int file, char *whole, struct stat *status) {
    if (!root[0]) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, whole, PATH_MAX - 1);
    if (n < 0) return NULL;
    whole[n] = 0;
    size_t m = strlen(root);
    if (strncmp(whole, root, m) != 0 || (whole[m] != '/' && whole[m] != 0)) return NULL;
    return fstat(file, status) == 0 ? (whole[m] ? whole + m + 1 : ".") : NULL;
}

static void record(const char *name, unsigned long inode, long offset, long length, const char *path,
                   const char *other, const void *bytes) {
    if (log_file < 0) return;
    char line[2 * PATH_MAX];
    int n = snprintf(line, sizeof line, "%s\t%lu\t%ld\t%ld\t%s\t%s\n", name, inode, offset, length, path, other);
    syscall(SYS_write, log_file, line, n);
    for (long done = 0; done < length;) done += syscall(SYS_write, log_file, (const char *)bytes + done, length - done);
}

// Whether the next operation fails.
static int fails(void) {
    count += 1;
    if (!failing || count < failing) return 0;
    errno = failure;
    return 1;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))
#define LOCKED pthread_mutex_lock(&mutex)
#define DONE(value) do { int saved = errno; pthread_mutex_unlock(&mutex); errno = saved; return value; } while (0)

static int open_any(int folder, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    const char *name = flags & (O_CREAT | O_TRUNC) ? inside(folder, path, whole) : NULL;
    if (!name) return syscall(SYS_openat, folder, path, flags, mode);
    LOCKED;
    if (fails()) DONE(-1);
    struct stat status;
    int existed = fstatat(folder, path, &status, 0) == 0;
    int file = syscall(SYS_openat, folder, path, flags, mode);
    if (file >= 0 && fstat(file, &status) == 0) {
        if (!existed) record("create", status.st_ino, 0, 0, name, "", NULL);
        else if (flags & O_TRUNC) record("truncate", status.st_ino, 0, 0, name, "", NULL);
    }
    DONE(file);
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list l; va_start(l, flags); mode = va_arg(l, mode_t); va_end(l); }
int open(const char *path, int flags, ...) { MODE return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return open_any(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return open_any(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return open_any(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

static ssize_t write_any(int file, const void *bytes, size_t length, off_t offset, int is_placed) {
    char whole[PATH_MAX];
    struct stat status;
    const char *name = opened(file, whole, &status);
    if (!name || !S_ISREG(status.st_mode))
        return is_placed ? syscall(SYS_pwrite64, file, bytes, length, offset) : syscall(SYS_write, file, bytes, length);
    LOCKED;
    if (fails()) DONE(-1);
    ssize_t n = is_placed ? syscall(SYS_pwrite64, file, bytes, length, offset) : syscall(SYS_write, file, bytes, length);
    if (n > 0) {
        off_t place = is_placed ? offset : lseek(file, 0, SEEK_CUR) - n;
        record("write", status.st_ino, place, n, name, "", bytes);
    }
    DONE(n);
}

ssize_t write(int file, const void *bytes, size_t length) { return write_any(file, bytes, length, 0, 0); }
ssize_t pwrite(int file, const void *b, size_t n, off_t offset) { return write_any(file, b, n, offset, 1); }
ssize_t pwrite64(int file, const void *b, size_t n, off_t offset) { return write_any(file, b, n, offset, 1); }
ssize_t writev(int file, const struct iovec *parts, int n) {
    ssize_t total = 0;
    for (int i = 0; i < n; i++) {
        ssize_t done = write_any(file, parts[i].iov_base, parts[i].iov_len, 0, 0);
        if (done < 0) return total ? total : done;
        total += done;
    }
    return total;
}

int ftruncate(int file, off_t length) {
    char whole[PATH_MAX];
    struct stat status;
    const char *name = opened(file, whole, &status);
    if (!name) return syscall(SYS_ftruncate, file, length);
    LOCKED;
    if (fails()) DONE(-1);
    int result = syscall(SYS_ftruncate, file, length);
    if (result == 0) record("truncate", status.st_ino, length, 0, name, "", NULL);
    DONE(result);
}
int ftruncate64(int file, off_t length) { return ftruncate(file, length); }

int fsync(int file) {
    char whole[PATH_MAX];
    struct stat status;
    const char *name = opened(file, whole, &status);
    if (!name) return syscall(SYS_fsync, file);
    LOCKED;
    if (fails()) DONE(-1);
    int result = syscall(SYS_fsync, file);
    if (result == 0) record(S_ISDIR(status.st_mode) ? "syncfolder" : "sync", status.st_ino, 0, 0, name, "", NULL);
    DONE(result);
}
int fdatasync(int file) { return fsync(file); }

static int name_two(const char *what, int a, const char *from, int b, const char *to, unsigned flags) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *first = inside(a, from, one), *second = inside(b, to, two);
    if (!first && !second) return syscall(SYS_renameat2, a, from, b, to, flags);
    LOCKED;
    if (fails()) DONE(-1);
    int result = syscall(SYS_renameat2, a, from, b, to, flags);
    if (result == 0) record(what, 0, 0, 0, first ? first : "?", second ? second : "?", NULL);
    DONE(result);
}
int rename(const char *from, const char *to) { return name_two("rename", AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return name_two("rename", a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return name_two(flags & 2 ? "exchange" : "rename", a, from, b, to, flags);
}

static int make_folder(int folder, const char *path, mode_t mode) {
    char whole[PATH_MAX];
    const char *name = inside(folder, path, whole);
    if (!name) return syscall(SYS_mkdirat, folder, path, mode);
    LOCKED;
    if (fails()) DONE(-1);
    int result = syscall(SYS_mkdirat, folder, path, mode);
    if (result == 0) record("mkdir", 0, 0, 0, name, "", NULL);
    DONE(result);
}
int mkdir(const char *path, mode_t mode) { return make_folder(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return make_folder(folder, path, mode); }

// Removing takes no room, so it never fails here.
static int remove_any(int folder, const char *path, int flags) {
    char whole[PATH_MAX];
    const char *name = inside(folder, path, whole);
    if (!name) return syscall(SYS_unlinkat, folder, path, flags);
    LOCKED;
    int result = syscall(SYS_unlinkat, folder, path, flags);
    if (result == 0) record("remove", 0, 0, 0, name, "", NULL);
    DONE(result);
}
int unlink(const char *path) { return remove_any(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return remove_any(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return remove_any(folder, path, flags); }
