/* Test images and the answers of LiteRT's reference kernels. */
#include "model.h"

const uint8_t model_vector_pixels[MODEL_VECTORS][MODEL_PIXELS] = {
$pixels
};

const uint8_t model_vector_answers[MODEL_VECTORS][MODEL_CLASSES] = {
$answers
};
