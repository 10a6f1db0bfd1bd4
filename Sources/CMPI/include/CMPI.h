// The little of MPI that training in several processes needs, over an Open MPI that is loaded when it is wanted.
//
// Every function but mm_mpi_is_launched belongs to the thread that called mm_mpi_start: MPI then needs no locks of its own
// (MPI_THREAD_FUNNELED). Data are counted in words of four bytes, so that 32-bit counts reach 8 GiB.
//
// What returns a text returns null when all went well, or why it did not; the text lives until the next call.
#ifndef CMPI_H
#define CMPI_H

#include <stdint.h>

/// Whether a launcher of MPI programs (mpirun, srun --mpi=...) started this process.
int mm_mpi_is_launched(void);

/// Loads the library and meets the other processes; called once at most.
const char *mm_mpi_start(void);
/// This process's number and how many there are.
int mm_mpi_rank(void);
int mm_mpi_size(void);

// One transfer at a time is under way: begun, then tested until it is done. Counts and places are words, one for each rank.

/// Sends each rank a part of `from` and receives one from each.
const char *mm_mpi_begin_all_to_all(
    const void *from, const int32_t *from_counts, const int32_t *from_places, void *to, const int32_t *to_counts,
    const int32_t *to_places);
/// Gives every rank what each has.
const char *mm_mpi_begin_all_gather(
    const void *from, int32_t count, void *to, const int32_t *to_counts, const int32_t *to_places);
/// Gives every rank what `root` has.
const char *mm_mpi_begin_broadcast(void *data, int32_t count, int32_t root);
/// Whether the transfer is done; moves it on meanwhile.
const char *mm_mpi_test(int *done);

/// Sets a bit of `size` zeroed bytes for each core that this process may run on; the number of bytes used. From any thread.
long mm_usable_cores(void *bits, long size);

/// `to += from`, element by element. From any thread.
void mm_add_floats(float *to, const float *from, long count);

/// Takes leave of the other processes, which wait for each other here.
const char *mm_mpi_finish(void);
/// Ends every process of the job.
void mm_mpi_abort(int code);

#endif
