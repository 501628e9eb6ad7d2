"""The GLSL programs of the renderer. World coordinates are in metres with z up, view coordinates are optical."""

MATERIAL_TEXELS = 3  # in a row of the table of materials

_VERSION = "#version 330\n"

SURFACE_VERTEX = (
    _VERSION
    + """
uniform mat4 view;        // world -> optical frame
uniform vec4 lens;        // fx, fy, cx, cy in units of the half width and half height
uniform vec2 range;       // near, far
uniform bool parallel;    // parallel or perspective projection
uniform vec4 clip;        // plane in the world; surfaces on its negative side are clipped
in vec3 position; in vec3 normal; in vec2 uv; in int material;
out vec3 world; out vec3 world_normal; out vec2 coordinates; flat out int row; out float distance_;
void main() {
    vec4 p = view * vec4(position, 1.0);
    world = position; world_normal = normal; coordinates = uv; row = material; distance_ = p.z;
    gl_ClipDistance[0] = dot(clip, vec4(position, 1.0));
    if (parallel) {
        float z = 2.0 * (p.z - range.x) / (range.y - range.x) - 1.0;
        gl_Position = vec4(lens.x * p.x + lens.z, lens.y * p.y + lens.w, z, 1.0);
        return;
    }
    float a = (range.y + range.x) / (range.y - range.x), b = -2.0 * range.y * range.x / (range.y - range.x);
    gl_Position = vec4(lens.x * p.x + lens.z * p.z, lens.y * p.y + lens.w * p.z, a * p.z + b, p.z);
}
"""
)

# The light of a surface: direct light and ambient light.
SURFACE_FRAGMENT = (
    _VERSION
    + """
const int LIGHTS = 6, SHADOWED = 3;
uniform sampler2DArray pictures; uniform sampler2D materials;
uniform sampler2DShadow shadows; uniform sampler2DShadow sun_shadow; uniform samplerCube surroundings;
uniform vec3 eye; uniform mat4 view;
uniform int light_count; uniform vec4 light_position[LIGHTS]; uniform vec3 light_colour[LIGHTS];
uniform vec3 ambient; uniform float indirect;   // share of light from the environment map
uniform vec3 room_low, room_high, room_centre;
uniform vec3 sun_direction, sun_colour; uniform mat4 sun_view; uniform float sun_radius;
uniform float shadow_near, shadow_far;
uniform bool glass;
in vec3 world; in vec3 world_normal; in vec2 coordinates; flat in int row; in float distance_;
layout(location = 0) out vec4 direct;   // light, and transmission of glass
layout(location = 1) out vec4 diffuse;  // ambient light before occlusion
layout(location = 2) out vec4 data;     // depth, normal in the optical frame (two numbers), kind + reflectance

float noise(ivec2 p) { return fract(52.9829189 * fract(dot(vec2(p), vec2(0.06711056, 0.00583715)))); }

// The point of a lamp that a sample tests for shadows. The samples of a pixel test different points.
vec2 spot() {
    ivec2 cell = ivec2(gl_FragCoord.xy);
    float i = float((cell.x & 1) + 2 * (cell.y & 1)), turn = 2.39996 * i + 6.2831853 * noise(cell / 2);
    return sqrt((i + 0.5) / 4.0) * vec2(cos(turn), sin(turn));
}

float lit(int k, vec3 p, vec2 at) {
    // Shadow map: the six faces of a light side by side, one row for each light.
    vec3 d = p - light_position[k].xyz;
    vec3 t = normalize(cross(d, vec3(0.0123, 0.0271, 1.0))), b = normalize(cross(d, t));
    d += light_position[k].w * (at.x * t + at.y * b);
    vec3 m = abs(d); float face; vec2 s; float z;
    if (m.x >= m.y && m.x >= m.z) { face = d.x > 0.0 ? 0.0 : 1.0; s = d.yz; z = m.x; }
    else if (m.y >= m.z) { face = d.y > 0.0 ? 2.0 : 3.0; s = d.xz; z = m.y; }
    else { face = d.z > 0.0 ? 4.0 : 5.0; s = d.xy; z = m.z; }
    s = clamp(s / z, -0.996, 0.996) * 0.5 + 0.5;
    float depth = (shadow_far + shadow_near - 2.0 * shadow_far * shadow_near / (z * 0.994 - 0.006))
        / (shadow_far - shadow_near) * 0.5 + 0.5;
    return texture(shadows, vec3((face + s.x) / 6.0, (float(k) + s.y) / float(SHADOWED), depth));
}

vec3 seen(vec3 p, vec3 way, float blur) {
    // Environment map with parallax correction for a box-shaped room.
    way += 1e-5;
    vec3 t = max((room_high - p) / way, (room_low - p) / way);
    float far = min(min(t.x, t.y), t.z);
    return textureLod(surroundings, p + way * max(far, 0.01) - room_centre, blur).rgb;
}

void main() {
    vec4 a = texelFetch(materials, ivec2(0, row), 0), b = texelFetch(materials, ivec2(1, row), 0),
        c = texelFetch(materials, ivec2(2, row), 0);
    vec3 toward = normalize(eye - world);
    vec3 flat_normal = cross(dFdx(world), dFdy(world));
    float area = length(flat_normal);
    flat_normal = area > 0.0 ? flat_normal / area : toward;   // degenerate triangles have no normal
    if (dot(flat_normal, toward) < 0.0) flat_normal = -flat_normal;
    vec3 n = normalize(world_normal + 1e-6 * flat_normal);
    if (dot(n, flat_normal) < 0.0) n = -n;
    if (dot(n, flat_normal) < 0.4 || dot(n, toward) < 0.02) n = flat_normal;

    vec3 albedo = a.rgb;
    if (a.a >= 0.0) {
        vec2 uv = coordinates;
        if (b.x > 0.0) {   // texture coordinates are positions in the world
            vec3 m = abs(flat_normal); vec3 p = world / b.x;
            uv = m.z >= m.x && m.z >= m.y ? p.xy : (m.x >= m.y ? p.yz : p.xz);
            uv = c.b * vec2(uv.x, uv.y) + c.a * vec2(-uv.y, uv.x);
        }
        vec3 q = texture(pictures, vec3(uv, a.a)).rgb;
        albedo *= q * (q * (q * 0.3053 + 0.6822) + 0.0125);   // from sRGB to linear
    }
    int kind = int(b.y + 0.5); float reflectance = b.z, gloss = b.w, rough = c.r, emission = c.g;
    bool metal = gloss > 1.0; gloss = min(gloss, 1.0);

    vec2 at = spot();
    vec3 light = vec3(0), shine = vec3(0);
    float sharp = exp2(9.0 * (1.0 - rough) + 1.0);
    for (int k = 0; k < light_count; ++k) {
        vec3 way = light_position[k].xyz - world; float square = dot(way, way); way *= inversesqrt(square + 1e-6);
        float facing = dot(n, way);
        if (facing <= 0.0) continue;
        float reach = 1.0 / (square + 0.3);
        if (k < SHADOWED && !glass) reach *= lit(k, world + 0.008 * flat_normal, at);
        light += facing * reach * light_colour[k];
        vec3 h = normalize(way + toward);
        shine += (sharp + 2.0) / 24.0 * pow(max(dot(n, h), 0.0), sharp) * facing * reach * light_colour[k];
    }
    float facing = dot(n, sun_direction);
    if (sun_colour.g > 0.0 && facing > 0.0) {
        vec4 s = sun_view * vec4(world + 0.02 * flat_normal, 1.0);
        float shade = texture(sun_shadow, vec3(s.xy + sun_radius * at, s.z - 0.002));
        light += facing * shade * sun_colour;
    }
    vec3 around = mix(ambient * (0.75 + 0.25 * n.z), textureLod(surroundings, n, 5.0).rgb, indirect);
    float grazing = pow(clamp(1.0 - dot(n, toward), 0.0, 1.0), 5.0);
    vec3 mirrored = indirect > 0.0 ? seen(world, reflect(-toward, n), 5.0 * rough) : ambient;
    vec3 f0 = metal ? albedo : vec3(0.04);
    vec3 fresnel = (f0 + (1.0 - f0) * grazing * (1.0 - rough)) * gloss;
    data.x = distance_;
    vec3 v = mat3(view) * n;
    v /= abs(v.x) + abs(v.y) + abs(v.z);
    data.yz = v.z <= 0.0 ? v.xy : (1.0 - abs(v.yx)) * vec2(v.x >= 0.0 ? 1.0 : -1.0, v.y >= 0.0 ? 1.0 : -1.0);
    data.w = float(kind) + clamp(reflectance, 0.0, 1.0) * 0.98 + 0.01;
    if (glass) {
        float cover = 0.04 + 0.96 * grazing;
        direct = vec4(cover * mirrored + shine * 0.04 + 0.03 * albedo * (light + around), (1.0 - cover) * 0.92);
        diffuse = vec4(mix(vec3(1.0), albedo, 0.6), 1.0);
        return;
    }
    float body = metal ? 1.0 - 0.9 * gloss : 1.0;
    direct = vec4(body * albedo * light + fresnel * shine + fresnel * mirrored + emission * albedo, 1.0);
    diffuse = vec4(body * albedo * around, 1.0);
}
"""
)

SHADOW_FRAGMENT = (
    _VERSION
    + """
in vec3 world; in vec3 world_normal; in vec2 coordinates; flat in int row; in float distance_;
void main() {}
"""
)

SCREEN_VERTEX = (
    _VERSION
    + """
in vec2 corner;
void main() { gl_Position = vec4(corner, 0.0, 1.0); }
"""
)

# The share of ambient light that reaches a surface, at half of the resolution.
OCCLUSION_FRAGMENT = (
    _VERSION
    + """
uniform sampler2D data; uniform vec4 focal; uniform ivec2 step_; uniform float radius;
out float open_;
vec3 place(ivec2 pixel, float z) { return vec3((vec2(pixel) + 0.5 - focal.zw) / focal.xy, 1.0) * z; }
void main() {
    ivec2 size = textureSize(data, 0);
    ivec2 pixel = ivec2(gl_FragCoord.xy) * step_ + step_ / 2;
    vec4 d = texelFetch(data, min(pixel, size - 1), 0);
    if (d.x <= 0.0) { open_ = 1.0; return; }
    vec3 n = vec3(d.yz, -(1.0 - abs(d.y) - abs(d.z)));
    if (n.z > 0.0) n.xy = (1.0 - abs(n.yx)) * vec2(n.x >= 0.0 ? 1.0 : -1.0, n.y >= 0.0 ? 1.0 : -1.0);
    n = normalize(n);
    vec3 p = place(pixel, d.x);
    ivec2 cell = ivec2(gl_FragCoord.xy) & 3;
    float turn = 6.2831853 * float((cell.x * 5 + cell.y * 11 + (cell.x ^ cell.y) * 3) & 15) / 16.0;
    float reach = clamp(radius * focal.x / d.x, 6.0, 0.25 * float(size.x)), hidden = 0.0;
    for (int i = 0; i < 10; ++i) {
        float a = turn + 2.39996 * float(i), r = reach * (float(i) + 0.5) / 10.0;
        ivec2 q = clamp(pixel + ivec2(r * vec2(cos(a), sin(a))), ivec2(0), size - 1);
        float z = texelFetch(data, q, 0).x;
        if (z <= 0.0) continue;
        vec3 way = place(q, z) - p; float square = dot(way, way);
        hidden += max(0.0, dot(way, n) * inversesqrt(square + 1e-8) - 0.08) / (1.0 + square / (radius * radius));
    }
    open_ = clamp(1.0 - 1.9 * hidden / 10.0, 0.15, 1.0);
}
"""
)

# Combines samples to pixels: the mean of colours, and the centre sample of values that must not be averaged.
RESOLVE_FRAGMENT = (
    _VERSION
    + """
uniform sampler2D direct, diffuse, data, pane_direct, pane_diffuse, pane_data, openness;
uniform sampler2D image_direct, image_diffuse, image_data; uniform sampler2D panorama;
uniform int samples; uniform bool panes; uniform bool mirrored; uniform float mirror_depth;
uniform vec4 focal; uniform mat3 to_world; uniform mat3 mirror_to_world; uniform float turn; uniform vec3 sky;
layout(location = 0) out vec4 colour;    // linear light, reflectance
layout(location = 1) out vec2 depths;    // depth of the first surface, and of the surface seen through it
layout(location = 2) out vec4 normals;   // normal / 2 + 1 / 2, kind / 255

vec3 outside(vec3 way) {
    vec3 d = normalize(way);
    vec2 at = vec2(atan(d.y, d.x) / 6.2831853 + turn, 0.5 - asin(clamp(d.z, -1.0, 1.0)) / 3.14159265);
    return sky * texture(panorama, at).rgb;
}

void main() {
    ivec2 first = ivec2(gl_FragCoord.xy) * samples, centre = first + samples / 2;
    vec3 ray = vec3((vec2(centre) + 0.5 - focal.zw) / focal.xy, 1.0);
    ivec2 coarse = textureSize(openness, 0);
    vec2 at = gl_FragCoord.xy * vec2(coarse) / (vec2(textureSize(data, 0)) / float(samples)) - 0.5;
    vec4 d = texelFetch(data, centre, 0);
    float open_ = 0.0, weight = 1e-4;
    for (int j = -1; j <= 1; ++j) for (int i = -1; i <= 1; ++i) {
        ivec2 q = clamp(ivec2(round(at)) + ivec2(i, j), ivec2(0), coarse - 1);
        float z = texelFetch(data, min(q * 2 * samples + samples, textureSize(data, 0) - 1), 0).x;
        float w = exp(-abs(z - d.x) / (0.03 * d.x + 1e-3));
        open_ += w * texelFetch(openness, q, 0).x; weight += w;
    }
    open_ = (open_ + 1e-4) / weight;
    vec3 far = d.x <= 0.0 || panes ? outside(to_world * ray) : vec3(0);
    vec3 sum = vec3(0); vec4 image = vec4(0);
    for (int j = 0; j < samples; ++j) for (int i = 0; i < samples; ++i) {
        ivec2 q = first + ivec2(i, j);
        vec4 e = texelFetch(data, q, 0); vec3 c;
        if (e.x <= 0.0) c = d.x <= 0.0 || panes ? far : outside(to_world * ray);
        else {
            c = texelFetch(direct, q, 0).rgb + open_ * texelFetch(diffuse, q, 0).rgb;
            if (int(e.w) == 4) {
                if (mirrored) {
                    vec4 f = texelFetch(image_data, q, 0);
                    vec3 lit = texelFetch(image_direct, q, 0).rgb + 0.85 * texelFetch(image_diffuse, q, 0).rgb;
                    c = 0.88 * (f.x > 0.0 ? lit : outside(mirror_to_world * ray));
                }
            }
        }
        if (panes) {
            vec4 g = texelFetch(pane_data, q, 0);
            if (g.x > 0.0) {
                vec4 p = texelFetch(pane_direct, q, 0);
                c = p.rgb + p.a * texelFetch(pane_diffuse, q, 0).rgb * c;
            }
        }
        sum += c / (1.0 + max(max(c.r, c.g), c.b) * 0.25);   // reduces the weight of very bright samples
    }
    sum /= float(samples * samples);
    if (any(isnan(sum)) || any(isinf(sum))) sum = vec3(0);
    sum /= max(1.0 - 0.25 * max(max(sum.r, sum.g), sum.b), 0.05);
    float behind = d.x;
    if (int(d.w) == 4 && mirrored) behind = texelFetch(image_data, centre, 0).x;
    if (panes) {
        vec4 g = texelFetch(pane_data, centre, 0);
        if (g.x > 0.0) d = g;
    }
    depths = vec2(d.x, behind);
    if (d.x <= 0.0) { colour = vec4(sum, 0.0); normals = vec4(0.5, 0.5, 0.5, 5.0 / 255.0); return; }
    vec3 n = vec3(d.yz, -(1.0 - abs(d.y) - abs(d.z)));
    if (n.z > 0.0) n.xy = (1.0 - abs(n.yx)) * vec2(n.x >= 0.0 ? 1.0 : -1.0, n.y >= 0.0 ? 1.0 : -1.0);
    n = normalize(n);
    colour = vec4(sum, (fract(d.w) - 0.01) / 0.98);
    normals = vec4(n * 0.5 + 0.5, floor(d.w) / 255.0);
}
"""
)
