"""TFLite: conversion, quantisation, calibration images, metadata."""
