/* Preloaded into the server under torture: remembers what a power cut would take back, and fails on request.
 *
 * Every write to a watched file is first noted in FILE.undo with the bytes it replaces; a sync that succeeds makes
 * all before it durable, so the notes are dropped. After a kill the notes tell what was on the disk itself. Watched
 * are files below STREAMGATE_SHIM_DIR that end in .db, -wal or .lock; never -shm, which a power cut loses anyway.
 *
 * A note is a head of five 64-bit numbers and the old bytes:
 *   kind (1 write, 2 new length, 3 synced, 4 sync failed), offset, length, old length of the file, bytes that follow
 * Once a sync has failed the notes are kept, because what it was to save stays unsaved: notes 3 and 4 then say which
 * writes a later sync did save.
 *
 * STREAMGATE_SHIM_DIR/shim.control is mapped: three 32-bit switches (full disk: 1 where a file would grow, 2 always;
 * write errors; sync errors), then from byte 64 on 64-bit counts (writes noted, writes refused as full, writes failed,
 * syncs done, syncs failed).
 *
 * Not watched: duplicated descriptors, renames, memory maps. SQLite uses none of them on these files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 16
#define FDS (1 << 20)

enum { WRITE = 1, LENGTH = 2, SYNCED = 3, SYNC_FAILED = 4 };
enum { FULL_OFF, FULL_GROWTH, FULL_ALL };

struct control {
    _Atomic uint32_t full, write_error, sync_error, unused[13];
    _Atomic uint64_t noted, refused, failed, synced, sync_failed;
};

struct note {
    uint64_t kind, offset, length, old_size, bytes;
};

struct watched {
    char path[PATH_MAX];
    int undo;
    int tainted; /* A sync failed since the notes were last dropped. */
    pthread_mutex_t lock;
};

static struct watched files[FILES];
static int known;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned char watched_as[FDS]; /* Descriptor to 1 + index of files; 0 is not watched. */
static char folder[PATH_MAX];
static struct control *control;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_unlink)(const char *);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

static void die(const char *what) {
    fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) die(name);
    return found;
}

__attribute__((constructor)) static void start(void) {
    real_open = real("open64");
    real_openat = real("openat64");
    real_close = real("close");
    real_unlink = real("unlink");
    real_write = real("write");
    real_writev = real("writev");
    real_pwrite = real("pwrite64");
    real_ftruncate = real("ftruncate64");
    real_fallocate = real("fallocate64");
    real_fsync = real("fsync");
    real_fdatasync = real("fdatasync");
    const char *named = getenv("STREAMGATE_SHIM_DIR");
    if (!named || !*named) return;
    /* Whoever tortures ends first at times; the server must not stay behind. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (snprintf(folder, sizeof folder, "%s/", named) >= (int)sizeof folder) die("STREAMGATE_SHIM_DIR");
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%sshim.control", folder);
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || real_ftruncate(fd, 4096)) die(path);
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) die(path);
    real_close(fd);
    control = map;
}

/* --- which files ------------------------------------------------------------------------------ */

static int ends_in(const char *path, const char *end) {
    size_t a = strlen(path), b = strlen(end);
    return a >= b && !strcmp(path + a - b, end);
}

static int is_ours(const char *path) {
    if (!control || strncmp(path, folder, strlen(folder))) return 0;
    return ends_in(path, ".db") || ends_in(path, "-wal") || ends_in(path, ".lock");
}

/* The path from the root; descriptors of folders are not followed, nobody here uses them. */
static int whole_path(const char *path, char *whole) {
    if (path[0] == '/') return snprintf(whole, PATH_MAX, "%s", path) < PATH_MAX;
    char here[PATH_MAX];
    return getcwd(here, sizeof here) && snprintf(whole, PATH_MAX, "%s/%s", here, path) < PATH_MAX;
}

/* Whether notes of an earlier life hold a failed sync. */
static int is_tainted(int undo) {
    struct note note;
    off_t at = 0;
    while (pread(undo, &note, sizeof note, at) == (ssize_t)sizeof note) {
        if (note.kind == SYNC_FAILED) return 1;
        at += sizeof note + note.bytes;
    }
    return 0;
}

static int watch(const char *path) {
    pthread_mutex_lock(&opening);
    int at = 0;
    while (at < known && strcmp(files[at].path, path)) at++;
    if (at == known) {
        if (known == FILES) die("more files than expected");
        char undo[PATH_MAX + 8];
        snprintf(files[at].path, PATH_MAX, "%s", path);
        snprintf(undo, sizeof undo, "%s.undo", path);
        files[at].undo = real_open(undo, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (files[at].undo < 0) die(undo);
        files[at].tainted = is_tainted(files[at].undo);
        pthread_mutex_init(&files[at].lock, NULL);
        known++;
    }
    pthread_mutex_unlock(&opening);
    return at;
}

static struct watched *of(int fd) {
    if (fd < 0 || fd >= FDS) return NULL;
    int at = atomic_load(&watched_as[fd]);
    return at ? &files[at - 1] : NULL;
}

/* --- notes ------------------------------------------------------------------------------------ */

static uint64_t size_of(int fd) {
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    return (uint64_t)found.st_size;
}

/* Appends a note with `bytes` old bytes from `offset` on. */
static void note(struct watched *file, int fd, uint64_t kind, uint64_t offset, uint64_t length, uint64_t bytes) {
    struct note head = {kind, offset, length, fd < 0 ? 0 : size_of(fd), bytes};
    size_t whole = sizeof head + bytes;
    char *text = malloc(whole);
    if (!text) die("no memory");
    memcpy(text, &head, sizeof head);
    for (uint64_t have = 0; have < bytes;) {
        ssize_t got = pread(fd, text + sizeof head + have, bytes - have, (off_t)(offset + have));
        if (got <= 0) die("old bytes");
        have += (uint64_t)got;
    }
    if (real_write(file->undo, text, whole) != (ssize_t)whole) die("undo");
    free(text);
    atomic_fetch_add(&control->noted, 1);
}

static void note_write(struct watched *file, int fd, uint64_t offset, uint64_t length) {
    uint64_t size = size_of(fd), end = offset + length < size ? offset + length : size;
    note(file, fd, WRITE, offset, length, end > offset ? end - offset : 0);
}

static void note_length(struct watched *file, int fd, uint64_t length) {
    uint64_t size = size_of(fd);
    note(file, fd, LENGTH, length, 0, size > length ? size - length : 0);
}

static void forget(struct watched *file) {
    if (real_ftruncate(file->undo, 0)) die("undo");
    file->tainted = 0;
}

/* The error that a write ending at `end` is to fail with, or 0. */
static int refusal(int fd, uint64_t end) {
    uint32_t full = atomic_load(&control->full);
    if (full == FULL_ALL || (full == FULL_GROWTH && end > size_of(fd))) {
        atomic_fetch_add(&control->refused, 1);
        return ENOSPC;
    }
    if (atomic_load(&control->write_error)) {
        atomic_fetch_add(&control->failed, 1);
        return EIO;
    }
    return 0;
}

/* --- the calls -------------------------------------------------------------------------------- */

static void note_opened(int fd, const char *whole, int flags) {
    struct stat found;
    if (fd < 0 || fd >= FDS || fstat(fd, &found) || !S_ISREG(found.st_mode)) return;
    if ((flags & O_ACCMODE) == O_RDONLY) return;
    atomic_store(&watched_as[fd], (unsigned char)(1 + watch(whole)));
}

/* What O_TRUNC is about to throw away. */
static void note_truncation(const char *whole) {
    int fd = real_open(whole, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct watched *file = &files[watch(whole)];
    pthread_mutex_lock(&file->lock);
    if (size_of(fd)) note_length(file, fd, 0);
    pthread_mutex_unlock(&file->lock);
    real_close(fd);
}

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    if (!real_openat) start();
    if (!control || !whole_path(path, whole) || !is_ours(whole)) return real_openat(at, path, flags, mode);
    if (flags & O_TRUNC) note_truncation(whole);
    /* Old bytes are read through the descriptor itself: closing one of our own would end SQLite's locks. */
    if ((flags & O_ACCMODE) == O_WRONLY) flags = (flags & ~O_ACCMODE) | O_RDWR;
    int fd = real_openat(at, path, flags, mode);
    note_opened(fd, whole, flags);
    return fd;
}

#define MODE(flags, mode)                          \
    mode_t mode = 0;                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {         \
        va_list rest;                              \
        va_start(rest, flags);                     \
        mode = va_arg(rest, mode_t);               \
        va_end(rest);                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(at, path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    if (!real_close) start();
    if (fd >= 0 && fd < FDS) atomic_store(&watched_as[fd], 0);
    return real_close(fd);
}

int unlink(const char *path) {
    char whole[PATH_MAX];
    if (!control || !whole_path(path, whole) || !is_ours(whole)) return real_unlink(path);
    int at = watch(whole);
    struct watched *file = &files[at];
    pthread_mutex_lock(&file->lock);
    int done = real_unlink(path);
    if (!done) {
        /* Who still has it open writes to a file that nobody will see again. */
        for (int fd = 0; fd < FDS; fd++) {
            unsigned char same = (unsigned char)(1 + at);
            atomic_compare_exchange_strong(&watched_as[fd], &same, 0);
        }
        forget(file);
    }
    pthread_mutex_unlock(&file->lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    struct watched *file = of(fd);
    if (!file) return real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&file->lock);
    ssize_t done = -1;
    int error = refusal(fd, (uint64_t)offset + length);
    if (!error) {
        note_write(file, fd, (uint64_t)offset, length);
        done = real_pwrite(fd, bytes, length, offset);
        error = errno;
    }
    pthread_mutex_unlock(&file->lock);
    if (done < 0) errno = error;
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite(fd, bytes, length, offset);
}

/* Where a plain write begins. */
static uint64_t place(int fd) {
    if (fcntl(fd, F_GETFL) & O_APPEND) return size_of(fd);
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at < 0) die("lseek");
    return (uint64_t)at;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct watched *file = of(fd);
    if (!file) return real_writev(fd, parts, count);
    uint64_t length = 0;
    for (int at = 0; at < count; at++) length += parts[at].iov_len;
    pthread_mutex_lock(&file->lock);
    ssize_t done = -1;
    uint64_t offset = place(fd);
    int error = refusal(fd, offset + length);
    if (!error) {
        note_write(file, fd, offset, length);
        done = real_writev(fd, parts, count);
        error = errno;
    }
    pthread_mutex_unlock(&file->lock);
    if (done < 0) errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!real_write) start();
    if (!of(fd)) return real_write(fd, bytes, length);
    struct iovec part = {(void *)bytes, length};
    return writev(fd, &part, 1);
}

int ftruncate(int fd, off_t length) {
    struct watched *file = of(fd);
    if (!file) return real_ftruncate(fd, length);
    pthread_mutex_lock(&file->lock);
    int done = -1, error = refusal(fd, (uint64_t)length);
    if (!error) {
        note_length(file, fd, (uint64_t)length);
        done = real_ftruncate(fd, length);
        error = errno;
    }
    pthread_mutex_unlock(&file->lock);
    if (done < 0) errno = error;
    return done;
}

int ftruncate64(int fd, off_t length) {
    return ftruncate(fd, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    struct watched *file = of(fd);
    if (!file) return real_fallocate(fd, mode, offset, length);
    pthread_mutex_lock(&file->lock);
    int done = -1, error = refusal(fd, (uint64_t)(offset + length));
    if (!error) {
        note_write(file, fd, (uint64_t)offset, (uint64_t)length);
        done = real_fallocate(fd, mode, offset, length);
        error = errno;
    }
    pthread_mutex_unlock(&file->lock);
    if (done < 0) errno = error;
    return done;
}

int fallocate64(int fd, int mode, off_t offset, off_t length) {
    return fallocate(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    return fallocate(fd, 0, offset, length) ? errno : 0;
}

int posix_fallocate64(int fd, off_t offset, off_t length) {
    return posix_fallocate(fd, offset, length);
}

static int sync_with(int (*sync)(int), int fd) {
    struct watched *file = of(fd);
    if (!file) return sync(fd);
    pthread_mutex_lock(&file->lock);
    int done = -1, error = EIO;
    if (!atomic_load(&control->sync_error)) {
        done = sync(fd);
        error = errno;
    }
    if (done) {
        note(file, -1, SYNC_FAILED, 0, 0, 0);
        file->tainted = 1;
        atomic_fetch_add(&control->sync_failed, 1);
    } else {
        if (file->tainted)
            note(file, -1, SYNCED, 0, 0, 0);
        else
            forget(file);
        atomic_fetch_add(&control->synced, 1);
    }
    pthread_mutex_unlock(&file->lock);
    if (done) errno = error;
    return done;
}

int fsync(int fd) {
    return sync_with(real_fsync, fd);
}

int fdatasync(int fd) {
    return sync_with(real_fdatasync, fd);
}
