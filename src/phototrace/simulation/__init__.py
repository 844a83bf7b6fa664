"""A camera in numpy: scene, lens, sensor, demosaicing, processing, JPEG, in the light's order.

The rooms follow the light: `scenes` -> `optics` -> `sensor` -> `demosaicing` -> `processing` ->
`encoding`. `cameras` holds the table of camera models, `shooting` takes one photo with one.
Images are float32 arrays (height, width, 3), linear in light where not said otherwise.
"""
