static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    if (value < low) return low;
    return value > high ? high : value;
}
