/* Convolution.

   The pixels under the kernel are gathered in one row of bytes, the zero point where
   the kernel stands outside of the image. So the zero point times the sum of the
   weights is the same everywhere, and `bias` has it included. */

typedef struct {
    const int8_t *weights; /* [out_channels][kernel_height][kernel_width][in_channels] */
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left;
    int32_t in_zero, out_zero, low, high;
} Convolution;

/* Gathers one row of the kernel, whose first pixel is at column `left`. */
static void gather_row(const Convolution *c, const int8_t *row, int32_t left,
                       int8_t *patch)
{
    const size_t channels = (size_t)c->in_channels;
    const int32_t right = left + (c->kernel_width - 1) * c->dilation_x;
    if (c->dilation_x == 1 && left >= 0 && right < c->in_width) {
        memcpy(patch, row + left * c->in_channels, (size_t)c->kernel_width * channels);
        return;
    }
    for (int32_t x = left; x <= right; x += c->dilation_x, patch += channels) {
        if (x < 0 || x >= c->in_width) memset(patch, c->in_zero, channels);
        else memcpy(patch, row + x * c->in_channels, channels);
    }
}

/* The bytes under the kernel at output pixel `pixel`: in the image itself, or gathered
   in `patch`. */
static const int8_t *gather(const Convolution *c, const int8_t *input, int32_t pixel,
                            int8_t *patch)
{
    const int32_t top = pixel / c->out_width * c->stride_y - c->pad_top;
    const int32_t left = pixel % c->out_width * c->stride_x - c->pad_left;
    const int32_t row_size = c->in_width * c->in_channels;
    const size_t taps = (size_t)(c->kernel_width * c->in_channels);
    if (c->kernel_height == 1 && c->kernel_width == 1)
        return input + top * row_size + left * c->in_channels;
    int8_t *next = patch;
    for (int32_t k = 0; k < c->kernel_height; ++k, next += taps) {
        const int32_t y = top + k * c->dilation_y;
        if (y < 0 || y >= c->in_height) memset(next, c->in_zero, taps);
        else gather_row(c, input + y * row_size, left, next);
    }
    return patch;
}

static int8_t output_of(const Convolution *c, int32_t channel, int32_t sum)
{
    const int32_t scaled =
        rescale(sum + c->bias[channel], c->multiplier[channel], c->shift[channel]);
    return (int8_t)clamp(scaled + c->out_zero, c->low, c->high);
}

/* Sums of products of two channels' weights v, w and two patches p, q: v.p, v.q, w.p,
   w.q. Four sums at once read each byte half as often. */
static void multiply_pairs(const int8_t *v, const int8_t *w, const int8_t *p,
                           const int8_t *q, int32_t count, int32_t sums[4])
{
    int32_t vp = 0, vq = 0, wp = 0, wq = 0;
    for (int32_t i = 0; i < count; ++i) {
        vp += v[i] * p[i];
        vq += v[i] * q[i];
        wp += w[i] * p[i];
        wq += w[i] * q[i];
    }
    sums[0] = vp;
    sums[1] = vq;
    sums[2] = wp;
    sums[3] = wq;
}

/* All channels of two pixels; an odd number of channels computes the last one twice. */
static void convolve_pixels(const Convolution *c, const int8_t *p, const int8_t *q,
                            int8_t *out_p, int8_t *out_q)
{
    const int32_t count = c->kernel_height * c->kernel_width * c->in_channels;
    for (int32_t channel = 0; channel < c->out_channels; channel += 2) {
        const int32_t next = channel + (channel + 1 < c->out_channels);
        int32_t sums[4];
        multiply_pairs(c->weights + (size_t)channel * (size_t)count,
                       c->weights + (size_t)next * (size_t)count, p, q, count, sums);
        out_p[channel] = output_of(c, channel, sums[0]);
        out_q[channel] = output_of(c, channel, sums[1]);
        out_p[next] = output_of(c, next, sums[2]);
        out_q[next] = output_of(c, next, sums[3]);
    }
}

/* `patches` has room for two. An odd number of pixels computes the last one twice. */
static void convolve(const Convolution *c, const int8_t *input, int8_t *output,
                     int8_t *patches)
{
    const int32_t pixels = c->out_height * c->out_width;
    const int32_t size = c->kernel_height * c->kernel_width * c->in_channels;
    for (int32_t pixel = 0; pixel < pixels; pixel += 2) {
        const int32_t next = pixel + (pixel + 1 < pixels);
        const int8_t *p = gather(c, input, pixel, patches);
        const int8_t *q = gather(c, input, next, patches + size);
        convolve_pixels(c, p, q, output + pixel * c->out_channels,
                        output + next * c->out_channels);
    }
}
