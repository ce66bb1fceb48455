"""Words for answers in words, in fields whose words are taken for one another."""

FIELDS = {
    "names": """
        Maria Marta Marie Maya Mary Martha Mara Mark Marc Marco Mario Marcus Martin Marvin Max Mia Mina Mira Moira
        Anna Hanna Hannah Anne Annie Nina Diana Dina Ada Ida Ava Eva Eve Evan Ivan Ian Dan Dana Dean Don Dora Cora
        Jon John Joan Jan Jane Jean Jana Jonas Jason Jack Jake James Tim Tom Kim Jim Sim Ted Ned Fred Rod Rob Bob Bo
        Lena Lina Luna Lana Lisa Liza Laura Lora Lola Nora Nadia Nadine Emil Emily Emma Erma Erik Eric Erika Elsa Ella
        Elena Helen Helena Paul Paula Paolo Saul Raul Carl Karl Karla Klara Clara Claire Ron Robin Colin Kevin Devin
        Gavin Alvin Alan Allan Albert Alfred Alice Alicia Alex Alexa Sara Sarah Sandra Sasha Sonia Sofia Sophie Stefan
        Steven Peter Petra Pedro Piero Pierre Oscar Otto Omar Owen Ruth Rita Rosie Rose Tara Tina Tanya Vera Victor
        Walter Wanda Wendy Yara Zara Zoe Louis Luis Lewis Lucas Lukas Lucy Julia Julie Julian Jenny Benny Becky
    """,
    "surnames": """
        Miller Keller Muller Weller Heller Fuller Taylor Tyler Baker Barker Parker Walker Waller Wagner Weaver Carter
        Porter Potter Hunter Hunt Hart Harris Harrison Hanson Hansen Jensen Jansen Johnson Jackson Nelson Nielsen
        Wilson Watson Lawson Larson Brown Braun Green Greene Clark Clarke Cook Cooke Lee Leigh Long Lang King
        Ring Reed Read Ross Rossi Russo Smith Smyth Stone Story Martinez Jimenez Perez Lopez Gomez Moreno Romero
    """,
    "things": """
        cat bat rat hat mat cot cut cap car can cup cub hen ten pen den men net pet bet bed bell ball bull bill wall
        hall tall bread broad beard bear pear pearl lake bike cake lane line wine vine nine mine pine heart earth horse
        house mouse moose goose stone store story shirt shore short plane plant planet plate place palace spring string
        strong song light night right fight knight left loft lift silver gold copper iron coal coat boat goat moat
        chair chain train brain grain rain river liver lever clock block lock rock sock ship shop chip chop sheep
        sleep street tree three throne crown clown cloud table cable fable marble letter ladder bladder feather
        leather weather mother brother father flower tower power paper pepper copper tiger silent listen tinsel
    """,
    "mathematics": """
        circle cycle sphere cube cone cylinder prism pyramid square rectangle triangle rhombus trapezoid kite pentagon
        hexagon heptagon octagon decagon polygon parallelogram sine cosine tangent secant cosecant cotangent acute
        obtuse straight reflex mean median mode range sum difference product quotient remainder divisor dividend
        rational irrational real imaginary complex natural integer prime composite perfect increasing decreasing
        constant parallel perpendicular skew scalene isosceles equilateral equiangular parabola hyperbola ellipse
        radius diameter chord arc sector segment vertex edge face base height slope
        associative commutative distributive reflexive symmetric transitive injective surjective bijective
    """,
    "places": """
        Paris Prague Rome Milan Lima Lyon Berlin Bern Bonn Cairo Oslo Madrid Malta Mali Malawi Niger Nigeria
        Austria Australia Iran Iraq Ireland Iceland India Indiana Georgia Japan Jordan Spain Sweden Sudan Norway
        Slovakia Slovenia Mars Venus Earth Jupiter Saturn Neptune Uranus Mercury Peru Perth Kenya China Chile Chad
        Cuba Congo Togo Tonga Gabon Ghana Guinea Guyana Latvia Lithuania Libya Liberia Syria Serbia Siberia
    """,
}
_COLOURS = "red green blue black brown white pink gray yellow orange purple golden silver violet beige tan teal"
_SHAPES = "circle square triangle cube cone sphere prism rhombus kite bell box star ring card drum rectangle"
COLOURS, SHAPES = _COLOURS.split(), _SHAPES.split()

# So few that the words themselves cannot be kept from one split.
TINY = tuple(
    tuple(line.split())
    for line in """
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday
    January February March April May June July August September October November December
    red green grey blue black brown white pink
    north south east west
    even odd neither
    always never sometimes
    true false
    yes no
    left right
    """.strip().splitlines()
)
NOTHING = "no solution"
WRITTEN_NOTHING = ("no solution", "\\emptyset", "empty set", "{}", "none", "\\varnothing", "∅", "no solutions")
SPOKEN_NOTHING = ("no solution", "empty set", "none")
SOMETHING = ("one solution", "two solutions", "all real numbers", "every x", "infinitely many", "all x")
