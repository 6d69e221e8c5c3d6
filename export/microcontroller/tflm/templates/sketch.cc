/* Runs the test vectors in TensorFlow Lite Micro, and shows how to use the model.

   Its own library is no ordinary package, so this file was checked for syntax and types
   against declarations, and not run. The vectors are answers of the reference kernels;
   CMSIS-NN's int8 kernels give the same bytes. */
#include <cstdint>
#include <cstdio>

#include "model.h"
#include "resolver.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "vectors.h"

namespace {

alignas(16) uint8_t arena[MODEL_ARENA_BYTES$arena_suffix];

/* Fills the input with pixels 0 to 255: rows, columns, channels (RGB). */
void FillInput(TfLiteTensor* input, const uint8_t* pixels) {
  for (int i = 0; i < MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS; ++i) {
    $fill
  }
}

int CountEqual(const TfLiteTensor* output, const VectorAnswer* expected) {
  int equal = 0;
  for (int k = 0; k < MODEL_CLASSES; ++k) {
    const VectorAnswer difference = output->data.$member[k] - expected[k];
    equal += $is_equal;
  }
  return equal;
}

int CheckVectors(tflite::MicroInterpreter& interpreter) {
  int equal = 0;
  for (int i = 0; i < MODEL_VECTORS; ++i) {
    FillInput(interpreter.input(0), vector_pixels[i]);
    if (interpreter.Invoke() != kTfLiteOk) return -1;
    equal += CountEqual(interpreter.output(0), vector_answers[i]) == MODEL_CLASSES;
  }
  return equal;
}

#ifdef MODEL_THRESHOLD_95
/* Whether the answer is given, where 95 % of the given answers are to be right; otherwise
   a program says "I don't know". */
bool IsCertain(const TfLiteTensor* output) {
  for (int k = 0; k < MODEL_CLASSES; ++k) {
    if (output->data.$member[k] >= MODEL_THRESHOLD_95) return true;
  }
  return false;
}

int CountCertain(tflite::MicroInterpreter& interpreter) {
  int certain = 0;
  for (int i = 0; i < MODEL_VECTORS; ++i) {
    FillInput(interpreter.input(0), vector_pixels[i]);
    if (interpreter.Invoke() != kTfLiteOk) return -1;
    certain += IsCertain(interpreter.output(0));
  }
  return certain;
}
#endif

}  // namespace

int main() {
  ModelResolver resolver;
  if (AddModelOperators(resolver) != kTfLiteOk) return 1;
  tflite::MicroInterpreter interpreter(tflite::GetModel(model_data), resolver, arena,
                                       sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;
  std::printf("arena: %u of %u bytes used\n",
              static_cast<unsigned>(interpreter.arena_used_bytes()),
              static_cast<unsigned>(sizeof(arena)));
  const int equal = CheckVectors(interpreter);
  std::printf("%d of %d vectors equal\n", equal, MODEL_VECTORS);
#ifdef MODEL_THRESHOLD_95
  std::printf("%d of %d vectors certain\n", CountCertain(interpreter), MODEL_VECTORS);
#endif
  return equal == MODEL_VECTORS ? 0 : 1;
}
