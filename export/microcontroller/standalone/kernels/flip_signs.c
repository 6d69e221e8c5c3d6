/* Subtracts 128 from an unsigned byte, or adds it to a signed one. */

typedef struct {
    int32_t count;
} Bytes;

static void flip_signs(const Bytes *b, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < b->count; ++i) output[i] = (int8_t)(input[i] ^ -128);
}
