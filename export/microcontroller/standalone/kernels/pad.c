/* Padding of rows, columns and channels with one value. */

typedef struct {
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t top, left, front, value;
} Padding;

static void pad(const Padding *p, const int8_t *input, int8_t *output)
{
    const int32_t size = p->out_height * p->out_width * p->out_channels;
    memset(output, p->value, (size_t)size);
    for (int32_t y = 0; y < p->in_height; ++y)
        for (int32_t x = 0; x < p->in_width; ++x, input += p->in_channels) {
            const int32_t pixel = (y + p->top) * p->out_width + x + p->left;
            memcpy(output + pixel * p->out_channels + p->front, input,
                   (size_t)p->in_channels);
        }
}
