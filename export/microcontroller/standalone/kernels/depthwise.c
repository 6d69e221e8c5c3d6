/* Depth-wise convolution: every channel has its own kernel. The sums of some channels
   are built side by side; `bias` includes the zero point as for a convolution, so that
   the kernel reads the zero point where it stands outside of the image. */

enum { DEPTHWISE_BLOCK = 32 };

typedef struct {
    const int8_t *weights; /* [kernel_height][kernel_width][out_channels] */
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels, depth_multiplier;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left;
    int32_t in_zero, out_zero, low, high;
} Depthwise;

/* Adds the products of one kernel position for `count` channels from `first`. */
static void add_products(const Depthwise *d, const int8_t *pixel, const int8_t *weights,
                         int32_t first, int32_t count, int32_t *sums)
{
    if (pixel == NULL) {
        for (int32_t i = 0; i < count; ++i) sums[i] += d->in_zero * weights[first + i];
    } else if (d->depth_multiplier == 1) {
        for (int32_t i = 0; i < count; ++i)
            sums[i] += pixel[first + i] * weights[first + i];
    } else {
        for (int32_t i = 0; i < count; ++i)
            sums[i] += pixel[(first + i) / d->depth_multiplier] * weights[first + i];
    }
}

/* The pixel under kernel position (k, l) of the output (y, x); NULL outside. */
static const int8_t *pixel_under(const Depthwise *d, const int8_t *input, int32_t y,
                                 int32_t x, int32_t k, int32_t l)
{
    const int32_t row = y * d->stride_y - d->pad_top + k * d->dilation_y;
    const int32_t column = x * d->stride_x - d->pad_left + l * d->dilation_x;
    if (row < 0 || row >= d->in_height || column < 0 || column >= d->in_width)
        return NULL;
    return input + (row * d->in_width + column) * d->in_channels;
}

static void depthwise_block(const Depthwise *d, const int8_t *input, int32_t y,
                            int32_t x, int32_t first, int8_t *output)
{
    int32_t sums[DEPTHWISE_BLOCK];
    int32_t count = d->out_channels - first;
    if (count > DEPTHWISE_BLOCK) count = DEPTHWISE_BLOCK;
    for (int32_t i = 0; i < count; ++i) sums[i] = d->bias[first + i];
    const int8_t *weights = d->weights;
    for (int32_t k = 0; k < d->kernel_height; ++k)
        for (int32_t l = 0; l < d->kernel_width; ++l, weights += d->out_channels)
            add_products(d, pixel_under(d, input, y, x, k, l), weights, first, count,
                         sums);
    for (int32_t i = 0; i < count; ++i) {
        const int32_t scaled =
            rescale(sums[i], d->multiplier[first + i], d->shift[first + i]);
        output[i] = (int8_t)clamp(scaled + d->out_zero, d->low, d->high);
    }
}

static void convolve_depthwise(const Depthwise *d, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < d->out_height; ++y)
        for (int32_t x = 0; x < d->out_width; ++x, output += d->out_channels)
            for (int32_t i = 0; i < d->out_channels; i += DEPTHWISE_BLOCK)
                depthwise_block(d, input, y, x, i, output + i);
}
