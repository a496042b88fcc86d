/* Does to a file what its arguments say, as the server might, and ends without a word.
 *
 *   writer FILE w OFFSET LENGTH CHARACTER | a LENGTH CHARACTER | t LENGTH | s | x | c PLACE VALUE | k …
 *
 * write at a place, append, set the length, sync, unlink and open anew, set a switch of the control file (at the
 * file's side), kill itself. Prints the outcome of each: 0 or the error's number. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **next;

static long number(void) {
    return strtol(*next++, NULL, 10);
}

static char *filled(long length) {
    char *bytes = malloc((size_t)length + 1);
    memset(bytes, **next++, (size_t)length);
    return bytes;
}

static int control(const char *file) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/shim.control", (int)(strrchr(file, '/') - file), file);
    int fd = open(path, O_RDWR);
    long place = number();
    uint32_t value = (uint32_t)number();
    int done = pwrite(fd, &value, sizeof value, place) == sizeof value;
    close(fd);
    return done ? 0 : -1;
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    const char *file = arguments[1];
    int fd = open(file, O_RDWR | O_CREAT, 0600);
    for (next = arguments + 2; *next;) {
        long place, length;
        int done = -1;
        errno = 0;
        switch (**next++) {
        case 'w':
            place = number();
            length = number();
            done = pwrite(fd, filled(length), (size_t)length, place) == length ? 0 : -1;
            break;
        case 'a':
            length = number();
            lseek(fd, 0, SEEK_END);
            done = write(fd, filled(length), (size_t)length) == length ? 0 : -1;
            break;
        case 't':
            done = ftruncate(fd, number());
            break;
        case 's':
            done = fsync(fd);
            break;
        case 'x':
            done = unlink(file);
            close(fd);
            fd = open(file, O_RDWR | O_CREAT, 0600);
            break;
        case 'c':
            done = control(file);
            break;
        case 'k':
            kill(getpid(), SIGKILL);
        }
        printf("%d\n", done ? errno : 0);
        fflush(stdout);
    }
    return 0;
}
