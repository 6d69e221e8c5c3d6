/* The operators of this model and no others, for TensorFlow Lite Micro. */
#ifndef MODEL_RESOLVER_H_
#define MODEL_RESOLVER_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr int kModelOperators = $count;
using ModelResolver = tflite::MicroMutableOpResolver<kModelOperators>;

inline TfLiteStatus AddModelOperators(ModelResolver& resolver) {
$calls
  return kTfLiteOk;
}

#endif
