/* Slots of shared memory that one process writes and others copy, without locks (C11 atomics).
 *
 * A slot carries two sequence numbers around its payload. The writer stores `begin`, then the
 * payload, then `end`; a reader loads `end`, copies, then loads `begin`: the copy is whole exactly
 * when both are the sequence it wanted. A writer that dies in between leaves begin != end and
 * therefore a slot that nobody accepts. The payload moves as relaxed atomic words, so that a copy
 * that races with the writer is torn (and detected), never undefined behaviour.
 */
#ifndef DVLA_SLOTS_H
#define DVLA_SLOTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef _Atomic uint64_t dvla_word;

typedef struct {
    dvla_word begin;
    dvla_word end;
} dvla_stamp;

/* Writer: from here on the payload is not whole. The fence keeps later stores behind `begin`. */
static inline void dvla_write_open(dvla_stamp *stamp, uint64_t sequence) {
    atomic_store_explicit(&stamp->begin, sequence, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

/* Writer: the payload is whole; the release makes it visible before `end`. */
static inline void dvla_write_close(dvla_stamp *stamp, uint64_t sequence) {
    atomic_store_explicit(&stamp->end, sequence, memory_order_release);
}

/* Reader: the sequence whose payload was completed last; later loads stay behind this one. */
static inline uint64_t dvla_read_open(dvla_stamp *stamp) {
    return atomic_load_explicit(&stamp->end, memory_order_acquire);
}

/* Reader: 1 when no writer touched the payload since `dvla_read_open` returned `sequence`. */
static inline int dvla_read_close(dvla_stamp *stamp, uint64_t sequence) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&stamp->begin, memory_order_relaxed) == sequence;
}

/* The newest complete sequence of the whole memory. */
static inline uint64_t dvla_newest(dvla_word *newest) {
    return atomic_load_explicit(newest, memory_order_acquire);
}

static inline void dvla_announce(dvla_word *newest, uint64_t sequence) {
    atomic_store_explicit(newest, sequence, memory_order_release);
}

/* Copy `bytes` of ordinary memory into words, and back; a last partial word is padded with zero.
 * The ordinary side may have any alignment. */
static inline void dvla_store_bytes(dvla_word *to, const void *from, size_t bytes) {
    const unsigned char *source = (const unsigned char *)from;
    size_t words = bytes / sizeof(uint64_t), rest = bytes % sizeof(uint64_t);
    uint64_t word;
    for (size_t i = 0; i < words; i++) {
        memcpy(&word, source + i * sizeof word, sizeof word);
        atomic_store_explicit(&to[i], word, memory_order_relaxed);
    }
    if (rest) {
        word = 0;
        memcpy(&word, source + words * sizeof word, rest);
        atomic_store_explicit(&to[words], word, memory_order_relaxed);
    }
}

static inline void dvla_load_bytes(void *to, dvla_word *from, size_t bytes) {
    unsigned char *target = (unsigned char *)to;
    size_t words = bytes / sizeof(uint64_t), rest = bytes % sizeof(uint64_t);
    uint64_t word;
    for (size_t i = 0; i < words; i++) {
        word = atomic_load_explicit(&from[i], memory_order_relaxed);
        memcpy(target + i * sizeof word, &word, sizeof word);
    }
    if (rest) {
        word = atomic_load_explicit(&from[words], memory_order_relaxed);
        memcpy(target + words * sizeof word, &word, rest);
    }
}

#endif
