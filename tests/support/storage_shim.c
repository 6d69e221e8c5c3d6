/* Preloaded: calls on paths under $SHIM_PREFIX fail as $SHIM_FAIL says, which is
   ",kind=errno,kind=errno", once $SHIM_WHEN, if it is set, exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int failure(const char *kind, const char *path) {
  const char *prefix = getenv("SHIM_PREFIX"), *fail = getenv("SHIM_FAIL");
  const char *when = getenv("SHIM_WHEN");
  char wanted[64];
  struct stat found;
  int saved = errno;
  if (!prefix || !fail || !path || strncmp(path, prefix, strlen(prefix))) return 0;
  if (when && stat(when, &found)) { errno = saved; return 0; }
  snprintf(wanted, sizeof wanted, ",%s=", kind);
  const char *at = strstr(fail, wanted);
  return at ? atoi(at + strlen(wanted)) : 0;
}

static const char *named(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, PATH_MAX - 1);
  if (size < 0) return NULL;
  path[size] = 0;
  return path;
}

static int is_folder(const char *path) {
  struct stat found;
  return !lstat(path, &found) && S_ISDIR(found.st_mode);
}

#define REAL(name, ...) ((typeof(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)
#define REFUSE(kind, path)                        \
  do {                                            \
    int number = failure(kind, path);             \
    if (number) { errno = number; return -1; }    \
  } while (0)

int rename(const char *from, const char *to) {
  REFUSE(is_folder(from) ? "rename_folder" : "rename_file", from);
  return REAL(rename, from, to);
}
int fsync(int fd) {
  char path[PATH_MAX];
  const char *at = named(fd, path);
  if (at) REFUSE(is_folder(at) ? "fsync_folder" : "fsync_file", at);
  return REAL(fsync, fd);
}
int flock(int fd, int operation) {
  char path[PATH_MAX];
  REFUSE("flock", named(fd, path));
  return REAL(flock, fd, operation);
}
int mkdir(const char *path, mode_t mode) {
  REFUSE("mkdir", path);
  return REAL(mkdir, path, mode);
}
int unlink(const char *path) {
  REFUSE("unlink", path);
  return REAL(unlink, path);
}
int symlink(const char *target, const char *path) {
  REFUSE("symlink", path);
  return REAL(symlink, target, path);
}
ssize_t write(int fd, const void *content, size_t size) {
  char path[PATH_MAX];
  REFUSE("write", named(fd, path));
  return REAL(write, fd, content, size);
}
ssize_t pwrite64(int fd, const void *content, size_t size, off64_t at) {
  char path[PATH_MAX];
  REFUSE("pwrite", named(fd, path));
  return REAL(pwrite64, fd, content, size, at);
}
ssize_t pwrite(int fd, const void *content, size_t size, off_t at) {
  char path[PATH_MAX];
  REFUSE("pwrite", named(fd, path));
  return REAL(pwrite, fd, content, size, at);
}
int ftruncate64(int fd, off64_t size) {
  char path[PATH_MAX];
  REFUSE("ftruncate", named(fd, path));
  return REAL(ftruncate64, fd, size);
}
int ftruncate(int fd, off_t size) {
  char path[PATH_MAX];
  REFUSE("ftruncate", named(fd, path));
  return REAL(ftruncate, fd, size);
}
int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (flags & O_CREAT) REFUSE("create", path);
  if (flags & O_APPEND) REFUSE("append", path);
  if (!(flags & (O_ACCMODE | O_DIRECTORY | O_PATH))) REFUSE("read", path);
  return REAL(open64, path, flags, mode);
}
int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (flags & O_CREAT) REFUSE("create", path);
  if (flags & O_APPEND) REFUSE("append", path);
  if (!(flags & (O_ACCMODE | O_DIRECTORY | O_PATH))) REFUSE("read", path);
  return REAL(open, path, flags, mode);
}
