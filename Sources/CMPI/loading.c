// Open MPI's functions, found when a training run with several processes begins: a program that is loaded with them would
// start slower for every verb, and not at all where there is no MPI.
#include "include/CMPI.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mm_mpi_is_launched(void) {
    // Set by mpirun, by launchers that speak PMIx, and by those that speak PMI-1 or PMI-2.
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

#if __has_include(<mpi.h>)
#include <mpi.h>
#elif __has_include(<mpi/mpi.h>)
#include <mpi/mpi.h>
#endif

#ifdef OPEN_MPI

#include <dlfcn.h>

#define FUNCTIONS(F) \
    F(MPI_Init_thread) F(MPI_Finalize) F(MPI_Abort) F(MPI_Comm_rank) F(MPI_Comm_size) F(MPI_Comm_set_errhandler) \
    F(MPI_Error_string) F(MPI_Ialltoallv) F(MPI_Iallgatherv) F(MPI_Ibcast) F(MPI_Test)

// clang-format off
static struct {
#define POINTER(name) __typeof__(&name) name;
    FUNCTIONS(POINTER)
} mpi;
// clang-format on

// What the headers' MPI_COMM_WORLD, MPI_UINT32_T, ... stand for are objects of the library.
static MPI_Comm world;
static MPI_Datatype word;
static MPI_Errhandler returning;
static MPI_Request request;
static int rank, size;
static char failure[MPI_MAX_ERROR_STRING + 64];

static void *library(void) {
    // Its plug-ins look for its symbols among those of the whole program.
#ifdef __APPLE__
    return dlopen("libmpi.40.dylib", RTLD_NOW | RTLD_GLOBAL);
#else
    return dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
#endif
}

static const char *checked(int code, const char *what) {
    if (code == MPI_SUCCESS) return 0;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    mpi.MPI_Error_string(code, text, &length);
    snprintf(failure, sizeof failure, "%s failed: %s", what, text);
    return failure;
}

const char *mm_mpi_start(void) {
    void *handle = library();
    if (!handle) {
        const char *reason = dlerror();
        snprintf(failure, sizeof failure, "%s", reason ? reason : "libmpi.so.40");
        return failure;
    }
#define FIND(name) \
    if (!(mpi.name = (__typeof__(mpi.name))dlsym(handle, #name))) return "it has no function " #name;
    FUNCTIONS(FIND)
    world = (MPI_Comm)dlsym(handle, "ompi_mpi_comm_world");
    word = (MPI_Datatype)dlsym(handle, "ompi_mpi_uint32_t");
    returning = (MPI_Errhandler)dlsym(handle, "ompi_mpi_errors_return");
    if (!world || !word || !returning) return "it is no Open MPI 4 or 5";
    int provided = MPI_THREAD_SINGLE;
    const char *reason = checked(mpi.MPI_Init_thread(0, 0, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    if (reason) return reason;
    if (provided < MPI_THREAD_FUNNELED) return "it was built for programs without threads";
    if ((reason = checked(mpi.MPI_Comm_set_errhandler(world, returning), "MPI_Comm_set_errhandler"))) return reason;
    if ((reason = checked(mpi.MPI_Comm_rank(world, &rank), "MPI_Comm_rank"))) return reason;
    return checked(mpi.MPI_Comm_size(world, &size), "MPI_Comm_size");
}

int mm_mpi_rank(void) { return rank; }
int mm_mpi_size(void) { return size; }

const char *mm_mpi_begin_all_to_all(
    const void *from, const int32_t *from_counts, const int32_t *from_places, void *to, const int32_t *to_counts,
    const int32_t *to_places) {
    return checked(
        mpi.MPI_Ialltoallv(from, from_counts, from_places, word, to, to_counts, to_places, word, world, &request),
        "MPI_Ialltoallv");
}

const char *mm_mpi_begin_all_gather(
    const void *from, int32_t count, void *to, const int32_t *to_counts, const int32_t *to_places) {
    return checked(
        mpi.MPI_Iallgatherv(from, count, word, to, to_counts, to_places, word, world, &request), "MPI_Iallgatherv");
}

const char *mm_mpi_begin_broadcast(void *data, int32_t count, int32_t root) {
    return checked(mpi.MPI_Ibcast(data, count, word, root, world, &request), "MPI_Ibcast");
}

const char *mm_mpi_test(int *done) { return checked(mpi.MPI_Test(&request, done, MPI_STATUS_IGNORE), "MPI_Test"); }

const char *mm_mpi_finish(void) { return checked(mpi.MPI_Finalize(), "MPI_Finalize"); }

void mm_mpi_abort(int code) { mpi.MPI_Abort(world, code); }

#else

// Compiled without Open MPI's headers: a single process is all there is.
static const char *const missing = "this program was built without Open MPI (docs/DEPENDENCIES.md lists the package)";

const char *mm_mpi_start(void) { return missing; }
int mm_mpi_rank(void) { return 0; }
int mm_mpi_size(void) { return 1; }
const char *mm_mpi_begin_all_to_all(
    const void *from, const int32_t *from_counts, const int32_t *from_places, void *to, const int32_t *to_counts,
    const int32_t *to_places) {
    return missing;
}
const char *mm_mpi_begin_all_gather(
    const void *from, int32_t count, void *to, const int32_t *to_counts, const int32_t *to_places) {
    return missing;
}
const char *mm_mpi_begin_broadcast(void *data, int32_t count, int32_t root) { return missing; }
const char *mm_mpi_test(int *done) { return missing; }
const char *mm_mpi_finish(void) { return 0; }
void mm_mpi_abort(int code) { exit(code); }

#endif
