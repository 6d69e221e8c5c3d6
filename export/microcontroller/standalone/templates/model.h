/* $comment */
#ifndef MODEL_H_
#define MODEL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_HEIGHT $height
#define MODEL_WIDTH $width
#define MODEL_CHANNELS $channels
#define MODEL_PIXELS (MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS)
#define MODEL_CLASSES $classes
/* Flash of weights and tables, and RAM of the arena, both in model.c. */
#define MODEL_CONSTANT_BYTES $constant_bytes
#define MODEL_ARENA_BYTES $arena_bytes
#define MODEL_VECTORS $vectors

extern const char *const model_labels[MODEL_CLASSES];

/* Classifies one image.

   pixels: bytes 0 to 255 in the order rows, columns, channels ($channel_order).
   probabilities: MODEL_CLASSES bytes; probability = byte / 256.

   Returns the most likely class, the first of several, or -1 if a pointer is NULL. It
   is not reentrant: all calls share one arena. */
int model_predict(const uint8_t *pixels, uint8_t *probabilities);

/* Least byte of the most likely class with which an answer is given, so that 90, 95 or 99 %
   of the answers that are given are right (chosen on validation rows; "abstain" in
   manifest.json has the guarantees). A threshold that does not exist is not defined. */
$thresholds

/* 1: the answer is given; 0: the program says "I don't know".
   probabilities: of model_predict. threshold: one of those above. */
int model_is_certain(const uint8_t *probabilities, int threshold);

/* Test images and the answers of LiteRT's reference kernels (vectors.c). */
extern const uint8_t model_vector_pixels[MODEL_VECTORS][MODEL_PIXELS];
extern const uint8_t model_vector_answers[MODEL_VECTORS][MODEL_CLASSES];

#ifdef __cplusplus
}
#endif

#endif
